"""What makes a served model's answers believable: a temperature, thresholds of sets and of ranks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.common.errors import BadInput
from pipeline.evaluation.conformal import SetRule
from pipeline.evaluation.promises import Promise, Thresholds

DEFAULT_ERROR = 0.05  # of answers whose rank the model chooses
_PROMISE = Promise("error", DEFAULT_ERROR, "so few wrong answers", "it promises none; promote the run again")


@dataclass(frozen=True)
class Calibration:
    """`temperature` divides the logits; `thresholds` are those of the prediction sets, by coverage in percent.

    `depths` are the thresholds of answers at the rank that is sure, by the share of wrong ones in percent, rising;
    empty where val could promise nothing, or in a model that an earlier version promoted. `shares` (k,) are those of
    the classes among val's pictures, which stand for those of train; empty in such a model. `groups` is the calibration
    of answers to several pictures of one animal, by the mean of their probabilities, where val has enough such.
    """

    temperature: float = 1.0
    sets: SetRule | None = None
    thresholds: Thresholds = ()
    depths: Thresholds = ()
    shares: tuple[float, ...] = ()
    groups: "Calibration | None" = None

    def set_rule(self, coverage: float) -> SetRule:
        """The rule of sets that hold the true class at least so often: the next whole percent that is kept.

        BadInput where none is.
        """
        if not 0 < coverage < 1:
            raise BadInput(f"coverage={coverage}: a share between 0 and 1, such as 0.9")
        for percent, threshold in self.thresholds:
            if self.sets is not None and percent >= round(100 * coverage, 6):
                return replace(self.sets, coverage=percent / 100, threshold=threshold)
        most = f"at most {self.thresholds[-1][0] / 100}" if self.thresholds else "none, for want of val pictures"
        raise BadInput(f"coverage={coverage} cannot be promised by this model: {most}")

    def depth(self, error: float | None) -> tuple[float, float] | None:
        """The promised share of wrong answers, at most `error`, and its threshold (see `pipeline.evaluation.depth`).

        None asked: `DEFAULT_ERROR`, else the least that can be promised, else None. BadInput where `error` cannot be.
        """
        return _PROMISE.kept(self.depths, error)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        sets = None
        if self.sets is not None:
            sets = {"rule": self.sets.to_dict(), "thresholds": [list(pair) for pair in self.thresholds]}
        plain = {"temperature": self.temperature, "sets": sets, "depths": [list(pair) for pair in self.depths]}
        groups = None if self.groups is None else self.groups.to_dict()
        return plain | {"shares": list(self.shares), "groups": groups}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Calibration":
        """The inverse of `to_dict`."""
        sets, groups = plain["sets"], plain.get("groups")
        rule, kept = (None, ()) if sets is None else (SetRule.from_dict(sets["rule"]), _pairs(sets["thresholds"]))
        return cls(
            plain["temperature"], rule, kept, _pairs(plain.get("depths", [])), tuple(plain.get("shares", ())),
            None if groups is None else cls.from_dict(groups),
        )  # fmt: skip


def _pairs(plain: Iterable[Sequence[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(percent), float(threshold)) for percent, threshold in plain)
