"""What the attributes of a picture say for and against a class, where the class follows from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from pipeline.data.attributes import in_words
from pipeline.data.batch import Inputs
from pipeline.evaluation.agreement import Agreement
from pipeline.models.classifier import Classifier, Wants
from pipeline.models.heads.concepts import Concepts

MOST = 3  # attributes that are named for a class, against it, and to be asked for
_SHOWN = 0.5  # of the pictures
_TOLD = 0.005  # less than that apart, shares read alike in percent
Seen = Literal["seen", "more", "not_seen", "less"]
WORDS: dict[Seen, str] = {"seen": "seen", "more": "more than usual", "not_seen": "not seen", "less": "less than usual"}


class Spoke(NamedTuple):
    """An attribute: which `share` of pictures like this one show it, as it is read or was set `by_hand`, which share is
    `usual` among training pictures, and what that difference `added` to the logit of a class.
    """  # fmt: skip

    attribute: str
    share: float
    usual: float
    added: float
    by_hand: bool

    @property
    def name(self) -> str:
        """As people read it."""
        return in_words(self.attribute)

    @property
    def seen(self) -> Seen:
        """Whether it is: a key of `WORDS`."""
        if self.share >= self.usual:
            return "seen" if self.share >= _SHOWN else "more"
        return "not_seen" if self.share < _SHOWN else "less"

    def __str__(self) -> str:
        how = "set by hand" if self.by_hand else WORDS[self.seen]
        return f"{self.name} ({how}, {self.added:+.1f})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        return {"name": self.name, "seen": WORDS[self.seen], **self._asdict()}


@dataclass(frozen=True)
class InWords:
    """What the attributes, as the network `name` reads them, add to the `logit` of a class.

    The logit is `without`, what it is where all attributes are as usual, and what each of `spoke` (most for the class
    first) added: their SHAP values, which are exact for a linear layer; and `direct`, what a path beside the attributes
    added, whose share of what sets the answer apart from the next one is `direct_share` (None: there is none).
    `ask_first`: whose answer is worth most. `agreement`: what share of these reasons, by size, agrees with what is
    known of the class. `overruled`: which class would have been the answer, had it not broken a rule, and which.
    """

    name: str
    logit: float
    without: float
    spoke: tuple[Spoke, ...]
    ask_first: tuple[str, ...]
    agreement: float
    direct: float | None = None
    direct_share: float | None = None
    overruled: str | None = None

    @property
    def in_favour(self) -> Sequence[Spoke]:
        """Those that spoke most for the class, and all that were set by hand and did."""
        return _foremost([one for one in self.spoke if one.added > 0])

    @property
    def against(self) -> Sequence[Spoke]:
        """Those that spoke most against the class, and all that were set by hand and did."""
        return _foremost([one for one in self.spoke[::-1] if one.added < 0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: `without`, those named, the `others` and a direct path add up to the logit."""
        named = [*self.in_favour, *self.against]
        beside: dict[str, Any] = {} if self.overruled is None else {"overruled": self.overruled}
        beside |= {} if self.direct is None else {"direct": self.direct, "direct_share": self.direct_share}
        return {
            "network": self.name, "logit": self.logit, "without": self.without,
            "for": [one.to_dict() for one in self.in_favour], "against": [one.to_dict() for one in self.against],
            "others": self.logit - self.without - (self.direct or 0.0) - sum(one.added for one in named),
            "ask_first": list(self.ask_first), "agreement": self.agreement,
        } | beside  # fmt: skip

    def to_row(self) -> dict[str, Any]:
        """As a line of a CSV says it."""
        beside = {"direct_share": self.direct_share, "overruled": self.overruled}
        return {
            "spoke_for": "; ".join(map(str, self.in_favour)), "spoke_against": "; ".join(map(str, self.against)),
            "ask_first": "; ".join(map(in_words, self.ask_first)), "agreement": self.agreement,
        } | {name: value for name, value in beside.items() if value is not None}  # fmt: skip


def _foremost(spoke: Sequence[Spoke]) -> Sequence[Spoke]:
    told = [one for one in spoke if one.by_hand or abs(one.share - one.usual) >= _TOLD]
    return [one for place, one in enumerate(told) if place < MOST or one.by_hand]


def in_words_of(
    members: Sequence[Classifier], inputs: Mapping[Wants, Inputs], codes: torch.Tensor, classes: Sequence[str]
) -> list[tuple[InWords, ...]]:
    """What attributes say of `classes`, by `codes` (n,), in n pictures: a tuple each, of the networks that read any."""
    said = [
        _said(member, inputs[member.spec.wants], codes, classes)
        for member in members
        if isinstance(member.head, Concepts)
    ]
    return list(zip(*said, strict=True)) if said else [()] * len(codes)


@torch.inference_mode()
def _said(member: Classifier, inputs: Inputs, codes: torch.Tensor, classes: Sequence[str]) -> Iterator[InWords]:
    head = member.head
    assert isinstance(head, Concepts)
    given = member.joined(inputs).float()
    concepts = head.concepts(given, inputs.attributes)
    added, without = head.contributions(concepts, codes)
    agrees = Agreement.of(added.cpu().numpy(), concepts.cpu().numpy(), head.knowledge[codes].cpu().numpy()).share
    every = head.direct(given)
    direct, shares = [None] * len(codes), [None] * len(codes)
    if head.beside is not None:
        direct = (every / head.temperature).gather(1, codes[:, None])[:, 0].tolist()
        shares = head.decided_directly(concepts, every)[0].tolist()
    overruled = _overruled(head, concepts, every, codes, classes)
    by_hand = torch.zeros_like(concepts, dtype=torch.bool) if inputs.attributes is None else ~inputs.attributes.isnan()
    worth = head.ask_first(concepts, every).masked_fill(by_hand, -torch.inf)
    first = worth.topk(min(MOST, worth.shape[1])).indices.tolist()
    name, usual = member.spec.name.rpartition("/")[2], head.mean.tolist()
    for row, shown in enumerate(head.shares(concepts).tolist()):
        each = [
            Spoke(*one) for one in
            zip(head.attributes, shown, usual, added[row].tolist(), by_hand[row].tolist(), strict=True)
        ]  # fmt: skip
        yield InWords(
            name, float(without[row]) + float(added[row].sum()) + (direct[row] or 0.0), float(without[row]),
            tuple(sorted(each, key=lambda one: -one.added)),
            tuple(head.attributes[place] for place in first[row] if not by_hand[row, place]), float(agrees[row]),
            direct[row], shares[row], overruled[row],
        )  # fmt: skip


def _overruled(
    head: Concepts, concepts: torch.Tensor, direct: torch.Tensor, codes: torch.Tensor, classes: Sequence[str]
) -> list[str | None]:
    """Of each picture (n,) the class that rules put out of the question, where it is likelier than that of `codes`."""
    if head.rules is None:
        return [None] * len(codes)
    which, broken = head.broken(concepts)
    without = (head.species.logits(concepts) + direct).argmax(1)
    said: list[str | None] = []
    for row, (code, answered) in enumerate(zip(without.tolist(), codes.tolist(), strict=True)):
        own = which[broken[row] & (which[:, 0] == code)].tolist() if code != answered else []
        rules = [
            f"{'always' if head.rules[code, place] > 0 else 'never'} {in_words(head.attributes[place])}"
            for _, place in own
        ]
        said.append(f"{classes[code]}: {', '.join(rules)}" if rules else None)
    return said
