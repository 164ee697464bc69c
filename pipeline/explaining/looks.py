"""Where the networks of a model looked in pictures: each of them, and all together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.explaining.methods import Method, evidence, seen
from pipeline.models.classifier import Classifier, Wants

TOGETHER = "all together"


@dataclass(frozen=True)
class Look:
    """Where the network `name` found evidence for a class in a picture.

    `pixels` (3, s, s) uint8 are the picture as it is read: cropped to its box, squashed, as the network has it.
    `heat` (h, w) is 1 where most of the evidence lies, 0 where there is none, or what speaks against the class.
    """

    name: str
    pixels: torch.Tensor
    heat: torch.Tensor


def looks(
    members: Sequence[Classifier], inputs: Mapping[Wants, Inputs], codes: torch.Tensor, method: Method = "gradcam"
) -> list[list[Look]]:
    """For each of n pictures where the members looked for its class `codes` (n,): one look a backbone.

    Of several the first is the mean, in which each has the same say; there is none where some see another part of a
    picture than others (data.fit, data.crop). Raises BadInput where a member has nothing that the method looks at.
    """
    names, ways, pictures, maps = _names(members), list[Preprocessing](), list[torch.Tensor](), list[torch.Tensor]()
    for member in members:
        mine = inputs[member.spec.wants]
        maps += [found.clamp(min=0).float().cpu() for found in evidence(member, mine, codes, method)]
        pictures += [some.cpu() for some in seen(member, mine)]
        ways += [part.preprocessing for part in member.parts]
    if len(maps) > 1 and len({(how.fit, how.crop, how.margin) for how in ways}) == 1:
        finest, largest = max(found.shape[-1] for found in maps), max(pictures, key=lambda some: some.shape[-1])
        sized = [interpolate(found[:, None], finest, mode="bilinear")[:, 0] for found in maps]
        whole = torch.stack([one / one.sum((1, 2), keepdim=True).clamp(min=_TINY) for one in sized]).mean(0)
        names, pictures, maps = [TOGETHER, *names], [largest, *pictures], [whole, *maps]
    heats = [found / found.amax((1, 2), keepdim=True).clamp(min=_TINY) for found in maps]
    return [
        [Look(name, some[place], heat[place]) for name, some, heat in zip(names, pictures, heats, strict=True)]
        for place in range(len(codes))
    ]


_TINY = torch.finfo(torch.float32).tiny


def _names(members: Sequence[Classifier]) -> list[str]:
    """One for each backbone, numbered where several have the same."""
    plain = [part.name.rpartition("/")[2] for member in members for part in member.parts]
    count, met, found = Counter(plain), Counter[str](), []
    for name in plain:
        met[name] += 1
        found.append(f"{name} {met[name]}" if count[name] > 1 else name)
    return found
