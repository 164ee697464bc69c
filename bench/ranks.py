"""Answers at the rank that is sure: which share is wrong, and how many stay at the class, over random splits.

    python bench/ranks.py PREDICTIONS_FOLDER TAXONOMY_CSV [SPLITS]

A folder of a run's `predictions/` and a table with a row a class, its first column the class. val gives the
temperature; test is split at random, 100 times, so that calibration and check pictures are disjoint. Then val gives the
threshold. Last, a region of 50 classes drawn at random: pictures of those, with that list and without it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.depth import Tree, answered, by_rank, lines, thresholds, wrong_up_to
from pipeline.evaluation.statistics import paired_tests_of
from pipeline.evaluation.temperature import fit_temperature
from pipeline.predictions.parquet import read_predictions
from pipeline.predictions.predictions import Predictions

ERRORS = [0.05, 0.1]


def main(folder: Path, table: Path, splits: int) -> None:
    """A line for each size of the calibration set and each promise; a row a rank."""
    val, test = (read_predictions(folder / f"{split}.parquet") for split in ("val", "test"))
    temperature = fit_temperature(val)
    val, test = val.at_temperature(temperature), test.at_temperature(temperature)
    tree, chance = (
        Tree.of(test.classes, pd.read_csv(table, index_col=0).reindex(test.classes)),
        np.random.default_rng(0),
    )
    wrong, full = wrong_up_to(tree, test), lines(tree, test)[np.arange(len(test)), tree.finest[test.predicted]]
    for pictures in (len(val), len(test) // 2):
        seen = np.empty((splits, len(ERRORS), 2))
        for split in range(splits):
            given, check = np.split(chance.permutation(len(test)), [pictures])
            for number, threshold in enumerate(thresholds(wrong[given], ERRORS)):
                seen[split, number] = (wrong[check] > threshold).mean(), (full[check] > threshold).mean()
        for error, mean, spread in zip(ERRORS, seen.mean(0), seen.std(0), strict=True):
            print(
                f"calibrated on {pictures:,}, {error:.0%} asked: {mean[0]:.2%} wrong (sd {spread[0]:.2%}, standard "
                f"error {spread[0] / splits**0.5:.2%}), {mean[1]:.1%} name the class (sd {spread[1]:.1%})"
            )
    (threshold,) = thresholds(wrong_up_to(tree, val), ERRORS[:1])
    print(by_rank(answered(tree, test, threshold)).round(4).to_string(index=False))
    region(test, tree, threshold)


def region(test: Predictions, tree: Tree, threshold: float) -> None:
    """A line: accuracy and wrong answers with a list of 50 classes and without, on their pictures."""
    inside = np.zeros(len(test.classes), dtype=bool)
    inside[np.random.default_rng(0).permutation(len(inside))[:50]] = True
    here = test.take(inside[test.labels])
    listed = replace(here, logits=np.where(inside, here.logits, np.float32(-1e9)))
    print(paired_tests_of({"without": here.correct, "list": listed.correct}).to_string(index=False))
    for name, found in (("without", here), ("list", listed)):
        wrong = (wrong_up_to(tree, found) > threshold).mean()
        print(f"{name}: accuracy {found.correct.mean():.2%} of {len(found):,}; at 5 % asked, {wrong:.2%} wrong")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100)
