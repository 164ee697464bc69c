"""What answers say together: how many there are of each class, and whether their pictures differ from val's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, vstack

from pipeline.evaluation.counting import counts, kept
from pipeline.evaluation.familiar import Usual
from pipeline.evaluation.lapse import LEVEL, Lapse
from pipeline.experiment.asking import lapse_of
from pipeline.serving.answers import Answer, Wanted, probabilities_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.seen import Seen, calibrated_as_one


@dataclass(frozen=True, eq=False)
class Part:
    """What that takes of one answer: `usual` of its pictures, and the probabilities (1, k) of the classes.

    None of what is unknown, which is not counted.
    """

    usual: Usual
    probabilities: csr_array | None

    @classmethod
    def of(cls, bundle: Bundle, seen: Seen, answer: Answer, wanted: Wanted) -> "Part":
        """Of what was seen in the pictures of one answer."""
        usual = Usual(seen.confidence(bundle.calibration.temperature), seen.looks)
        if answer.unknown:
            return cls(usual, None)
        calibrated, one = calibrated_as_one(bundle, seen)
        return cls(usual, kept(probabilities_of(calibrated, one.scores, wanted)[0]))

    def shows(self, code: int | None, classes: int) -> "Part":
        """The same where somebody looked: it is that one of so many classes, or None of them."""
        return Part(self.usual, None if code is None else kept(np.eye(1, classes, code)))


def differs(bundle: Bundle, parts: Sequence[Part]) -> Lapse | None:
    """In what the pictures differ from val's; None where they do not, or it cannot be told."""
    found = lapse_of(bundle, [one.usual for one in parts])
    return found if found is not None and found.p < LEVEL else None


def how_many(bundle: Bundle, parts: Sequence[Part]) -> pd.DataFrame | None:
    """How many there are, as `predict counts=true` has it; None where nothing is to be counted, or to go by."""
    known = [one.probabilities for one in parts if one.probabilities is not None]
    if not known or not bundle.calibration.shares:
        return None
    return counts(vstack(known).tocsr(), np.array(bundle.calibration.shares), bundle.classes)
