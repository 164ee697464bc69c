"""What the attributes of a picture say for and against a class, where the class follows from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from pipeline.data.attributes import in_words
from pipeline.data.batch import Inputs
from pipeline.data.rules import Rule
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
    `broken`: the rules that this class breaks, and what they took from its logit.
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
    broken: "Broken | None" = None

    @property
    def in_favour(self) -> Sequence[Spoke]:
        """Those that spoke most for the class, and all that were set by hand and did."""
        return _foremost([one for one in self.spoke if one.added > 0])

    @property
    def against(self) -> Sequence[Spoke]:
        """Those that spoke most against the class, and all that were set by hand and did."""
        return _foremost([one for one in self.spoke[::-1] if one.added < 0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it: `without`, those named, the `others`, a direct path and rules add up to the logit."""
        named = [*self.in_favour, *self.against]
        beside: dict[str, Any] = {} if self.overruled is None else {"overruled": self.overruled}
        beside |= {} if self.direct is None else {"direct": self.direct, "direct_share": self.direct_share}
        beside |= {} if self.broken is None else {"broken": self.broken._asdict()}
        rest = self.logit - self.without - (self.direct or 0.0) - (self.broken.added if self.broken else 0.0)
        return {
            "network": self.name, "logit": self.logit, "without": self.without,
            "for": [one.to_dict() for one in self.in_favour], "against": [one.to_dict() for one in self.against],
            "others": rest - sum(one.added for one in named),
            "ask_first": list(self.ask_first), "agreement": self.agreement,
        } | beside  # fmt: skip

    def to_row(self) -> dict[str, Any]:
        """As a line of a CSV says it."""
        beside = {"direct_share": self.direct_share, "overruled": self.overruled}
        beside["breaks"] = self.broken and "; ".join(self.broken.rules)
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
    overruled, broken = _overruled(head, concepts, every, codes, classes), _broken(head, concepts, codes)
    by_hand = torch.zeros_like(concepts, dtype=torch.bool) if inputs.attributes is None else ~inputs.attributes.isnan()
    worth = head.ask_first(concepts, every).masked_fill(by_hand, -torch.inf)
    first = worth.topk(min(MOST, worth.shape[1])).indices.tolist()
    name, usual = member.spec.name.rpartition("/")[2], head.mean.tolist()
    for row, shown in enumerate(head.shares(concepts).tolist()):
        each = [
            Spoke(*one) for one in
            zip(head.attributes, shown, usual, added[row].tolist(), by_hand[row].tolist(), strict=True)
        ]  # fmt: skip
        taken = own.added if (own := broken[row]) else 0.0
        yield InWords(
            name, float(without[row]) + float(added[row].sum()) + (direct[row] or 0.0) + taken, float(without[row]),
            tuple(sorted(each, key=lambda one: -one.added)),
            tuple(head.attributes[place] for place in first[row] if not by_hand[row, place]), float(agrees[row]),
            direct[row], shares[row], overruled[row], broken[row],
        )  # fmt: skip


def _overruled(
    head: Concepts, concepts: torch.Tensor, direct: torch.Tensor, codes: torch.Tensor, classes: Sequence[str]
) -> list[str | None]:
    """Of each picture (n,) the class that rules put out of the question, where it is likelier than that of `codes`."""
    if head.rules is None:
        return [None] * len(codes)
    without = (head.species.logits(concepts) + direct).argmax(1)
    broken = _broken(head, concepts, without)
    return [
        f"{classes[code]}: {', '.join(own.rules)}" if own and code != answered else None
        for own, code, answered in zip(broken, without.tolist(), codes.tolist(), strict=True)
    ]


class Broken(NamedTuple):
    """The `rules` that a class breaks, in words, and what they `added` to its logit, which is less than nothing."""

    rules: tuple[str, ...]
    added: float


def _broken(head: Concepts, concepts: torch.Tensor, codes: torch.Tensor) -> list[Broken | None]:
    """Of each picture (n,) what the class of `codes` (n,) breaks there; None where it breaks nothing."""
    if head.rules is None:
        return [None] * len(codes)
    rules = [Rule(*map(int, row[:3]), *row[3:]) for row in head.rules.tolist()]
    own = head.broken(concepts) & (head.rules[:, 0] == codes[:, None])
    found: list[Broken | None] = [None] * len(codes)
    for row in own.any(1).nonzero()[:, 0].tolist():
        some = [rules[place] for place in own[row].nonzero()[:, 0].tolist()]
        told = tuple(one.told(in_words(head.attributes[one.attribute])) for one in some)
        found[row] = Broken(told, -sum(one.weight for one in some))
    return found
