"""Whether a set of pictures differs from those that promises were made on.

Two-sample Kolmogorov-Smirnov tests of how sure the network is, of how far features lie from known classes and of where
they lie along the axes of known pictures, which together alarm in at most `LEVEL` of sets from the same source
(Bonferroni; Rabanser, Günnemann and Lipton 2019, "Failing loudly", found univariate tests as good as any).
"""

from typing import NamedTuple

import numpy as np

from pipeline.evaluation.familiar import Looks, Usual

LEVEL = 0.02  # of sets from the same source, in which a difference is said at most
LEAST = 20  # pictures, of fewer nothing is said


class Lapse(NamedTuple):
    """`p`: how often a set from the same source would differ as much in something, at most; by what it shows most.

    `less_sure`: whether the network is less sure of most than it is of val.
    """

    p: float
    shown_by: str
    less_sure: bool


def lapse(usual: Usual, confidence: np.ndarray, looks: Looks | None) -> Lapse | None:
    """What differs in n pictures, whether it is much or not; None where they are too few to tell."""
    if min(len(confidence), len(usual.confidence)) < LEAST:
        return None
    from scipy.stats import ks_2samp

    pairs = {"how sure it is": (usual.confidence, confidence)}
    if usual.looks is not None and looks is not None:
        pairs["how far they are from known classes"] = (usual.looks.distance, looks.distance)
        for number, axis in enumerate(zip(usual.looks.along.T, looks.along.T, strict=True)):
            pairs[f"what they look like ({number + 1})"] = axis
    # one picture whose value is no number would silence all
    found = {name: float(ks_2samp(*pair, nan_policy="omit").pvalue) for name, pair in pairs.items()}
    least = min(found, key=lambda name: found[name])
    less_sure = bool(np.nanmedian(confidence) < np.nanmedian(usual.confidence))
    return Lapse(min(1.0, found[least] * len(found)), least.partition(" (")[0], less_sure)
