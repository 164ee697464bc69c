"""A network's own classifier, asked as it is."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.paths import expanded
from pipeline.models.backbone import Features
from pipeline.models.heads.fitted import FittedHead

IMAGENET = 1000


class Pretrained(FittedHead):
    """Learns nothing: a class is as likely as those of ImageNet that it stands for are together.

    Which these are, a CSV `mapping` with the columns `class,imagenet` says, in as many rows as a class needs; without
    one, the classes' own names. ImageNet's classes go by any of their names, by WordNet's id (`n02123045`), by number
    (`281`), or several at once by a range of numbers (`281-285`, both ends included).
    """

    reads: ClassVar[Features] = "answers"
    learns = False
    stands_for: torch.Tensor

    def __init__(self, n_features: int, n_classes: int, mapping: str | None = None) -> None:
        super().__init__()
        self.mapping, self.n_classes = mapping, n_classes
        # Of each of the network's own classes, the one that it stands for here; n_classes for none.
        self.register_buffer("stands_for", torch.full((n_features,), n_classes))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        likely = features.softmax(1)
        summed = likely.new_zeros(len(likely), self.n_classes + 1).index_add(1, self.stands_for, likely)
        return summed[:, :-1].clamp(min=torch.finfo(likely.dtype).tiny).log()

    def meet(self, classes: Sequence[str]) -> None:
        if len(self.stands_for) != IMAGENET:
            raise BadInput(
                f"head=pretrained: the network answers with {len(self.stands_for)} classes of its own, not with "
                f"ImageNet's {IMAGENET:,}: choose another network"
            )
        asked = {name: [name] for name in classes} if self.mapping is None else _read(self.mapping, classes)
        found = _imagenet_classes(asked, numbers_too=self.mapping is not None)
        for number, name in enumerate(classes):
            for one in found[name]:
                if self.stands_for[one] < number:
                    other = classes[int(self.stands_for[one])]
                    raise BadInput(
                        f"head.mapping: ImageNet's class {one} is given to {other} and to {name}: to one alone"
                    )
                self.stands_for[one] = number

    def fit(self, features: torch.Tensor, labels: torch.Tensor, **_: torch.Tensor | None) -> None:
        """There is nothing to learn."""


def _read(mapping: str, classes: Iterable[str]) -> dict[str, list[str]]:
    """What of ImageNet's each class stands for, as the file words it."""
    file, found = expanded(mapping, "head.mapping"), defaultdict(list)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines):
                found[row["class"]].append(row["imagenet"])
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(
            f"head.mapping={mapping}: no CSV with the columns class,imagenet ({type(error).__name__}: {error})"
        ) from None
    for name in classes:
        if name not in found:
            raise BadInput(f"head.mapping={mapping}: the class {name} is missing{did_you_mean(name, found)}")
    return {name: found[name] for name in classes}


def _imagenet_classes(asked: Mapping[str, list[str]], *, numbers_too: bool) -> dict[str, list[int]]:
    """The numbers of ImageNet's classes that each class stands for. BadInput where one has no, or several meanings.

    A class that is itself called 7 does not mean ImageNet's seventh: `numbers_too` only where a file says so.
    """
    from timm.data.imagenet_info import ImageNetInfo

    info, known = ImageNetInfo("imagenet-1k"), defaultdict(set)
    for number in range(IMAGENET):
        for name in (info.index_to_label_name(number), *info.index_to_description(number).split(", ")):
            known[_plain(name)].add(number)

    def numbers(of: str, name: str) -> list[int]:
        span = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", name.strip()) if numbers_too else None
        if span:
            return list(range(int(span[1]), int(span[2] or span[1]) + 1))
        meant = sorted(known.get(_plain(name), ()))
        if len(meant) > 1:
            ids = " and ".join(info.index_to_label_name(one) for one in meant)
            raise BadInput(f"{of}: ImageNet has several classes {name}: {ids}; say which with head.mapping=FILE")
        if not meant:
            remedy = did_you_mean(_plain(name), known)
            raise BadInput(
                f"{of}: ImageNet has no class {name}{remedy if 'mean' in remedy else ''}; a CSV with the columns "
                "class,imagenet says what stands for it: head.mapping=FILE"
            )
        return meant

    return {of: [one for name in names for one in numbers(f"class {of}", name)] for of, names in asked.items()}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
