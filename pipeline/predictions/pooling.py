"""Several photographs of one specimen, answered as one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions


def pool(predictions: Predictions, groups: Sequence[str] | pd.Series | np.ndarray) -> Predictions:
    """One answer a specimen: the mean of its pictures' probabilities.

    `groups` (n,) names the specimen of each picture; a picture without one (None, NaN) stands for itself.
    The ids of the result are the specimens', in the order of their first picture. BadInput where pictures of
    one specimen have different labels. Sparse: what is not kept is shared evenly (see `Predictions.spread`).
    """
    predictions.check_usable()
    named = pd.Series(groups, dtype=object).reset_index(drop=True)
    if len(named) != len(predictions):
        raise ValueError(f"{len(named)} groups for {len(predictions)} pictures")
    codes, names = pd.factorize(named.fillna(pd.Series(predictions.ids)).astype(str))
    labels = _labels(predictions, codes, names)
    order = np.argsort(codes, kind="stable")
    by_specimen, sizes = predictions.take(order), np.bincount(codes)
    ends = np.cumsum(sizes)
    collector = PredictionsBuilder.like(predictions)
    step = max(1, next(predictions.blocks()).stop // int(sizes.max()))
    for first in range(0, len(names), step):
        last = min(first + step, len(names))
        starts = ends[first:last] - sizes[first:last]
        probabilities = by_specimen.spread(slice(int(starts[0]), int(ends[last - 1])))
        means = np.add.reduceat(probabilities, starts - starts[0], axis=0) / sizes[first:last, None]
        collector.add_probabilities(names[first:last], labels[first:last], means)
    return collector.finish()


def _labels(predictions: Predictions, codes: np.ndarray, names: pd.Index) -> np.ndarray:
    """(g,) the one label of each specimen."""
    labels = np.zeros(len(names), dtype=np.int64)
    labels[codes] = predictions.labels
    strays = np.flatnonzero(labels[codes] != predictions.labels)
    if len(strays):
        row = strays[0]
        one, other = predictions.classes[predictions.labels[row]], predictions.classes[labels[codes[row]]]
        raise BadInput(f"specimen {names[codes[row]]} is labelled {one} and {other}: correct its label")
    return labels
