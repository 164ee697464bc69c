"""What networks say of pictures, before it is an answer: scores, and how strange their features are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from pipeline.common.errors import BadInput
from pipeline.evaluation.familiar import Looks, together
from pipeline.evaluation.strangeness import SOFTER, too_strange
from pipeline.predictions.predictions import TINY
from pipeline.serving.described import Described


class Seen(NamedTuple):
    """What networks say of n pictures: `scores` (n, k) float32, logits or logarithms of probabilities, and the looks of
    their features where known ones' are kept.
    """

    scores: np.ndarray
    looks: Looks | None = None

    def at(self, place: int) -> "Seen":
        """What is said of one of the pictures."""
        here = slice(place, place + 1)
        looks = None if self.looks is None else Looks(*(part[here] for part in self.looks))
        return Seen(self.scores[here], looks)

    def confidence(self, temperature: float) -> np.ndarray:
        """(n,) the largest softened probability, of scores at that temperature."""
        return softmax(self.scores / (np.float64(temperature) * SOFTER), axis=1).max(axis=1)


def seen_of(model: Described, scores: np.ndarray, features: np.ndarray | None) -> Seen:
    """Scores and, where the model can tell by features (n, d), looks."""
    known = model.known
    if known is None or known.familiar is None or features is None:
        return Seen(scores)
    return Seen(scores, known.familiar.looks(features, scores))


def all_of(several: Sequence[Seen]) -> Seen:
    """What was said of some pictures and of others, one after the other."""
    looks = [one.looks for one in several if one.looks is not None]
    return Seen(np.concatenate([one.scores for one in several]), together(looks) if looks else None)


def calibrated_as_one(model: Described, seen: Seen) -> tuple[Described, Seen]:
    """What is said of one animal by its n pictures, and the model that is calibrated for such.

    The mean of their probabilities, as `evaluate` has it, at a temperature that was fitted on val's groups; where val
    had too few, the mean of the calibrated ones.
    """
    if len(seen.scores) == 1 or model.of_groups is None:
        return model, as_one(model, seen)
    return model.of_groups, Seen(_log(softmax(seen.scores.astype(np.float64), axis=1).mean(axis=0, keepdims=True)))


def as_one(model: Described, seen: Seen) -> Seen:
    """What is said of one specimen by its n pictures: the mean of their probabilities, and of their looks.

    Of one picture what is said of that.
    """
    if len(seen.scores) == 1:
        return seen
    temperature = model.calibration.temperature
    mean = softmax(seen.scores / np.float64(temperature), axis=1).mean(axis=0, keepdims=True)
    looks = None if seen.looks is None else Looks(*(part.mean(axis=0, keepdims=True) for part in seen.looks))
    return Seen(_log(mean) * temperature, looks)


def unknown_among(model: Described, seen: Seen, share: float | None) -> list[tuple[bool, float] | None]:
    """Whether each picture is stranger than all but a share of known ones, and that share; None: it cannot be told.

    BadInput for a share that cannot be promised.
    """
    known = model.known
    if known is None and share is not None:
        raise BadInput(
            f"known_sent_away={share}: this model cannot tell what is unknown to it; train its run again and promote it"
        )
    promised = known and known.strangeness.sends_away(share)
    if known is None or not promised or (known.familiar is not None and seen.looks is None):
        return [None] * len(seen.scores)
    distance = None if seen.looks is None else seen.looks.distance
    strange = known.strangeness.of(seen.confidence(model.calibration.temperature), distance)
    return [(one, promised[0]) for one in too_strange(strange, promised[1]).tolist()]


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, TINY))
