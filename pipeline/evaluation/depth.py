"""Answers as deep as they are sure: the species where that is certain enough, else the genus, ..., or nothing.

Probability is summed up the taxonomy along the line of the likeliest class, and the answer is the deepest taxon of that
line whose probability is above a threshold. A higher threshold only climbs, and who climbs is never wrong anew, so that
conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster 2022, "Conformal Risk Control") gives the threshold
at which at most a promised share of answers is wrong, whatever their rank, on average over pictures like those of val.
An answer of no rank says nothing, and is not wrong.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.taxonomy import RANKS, ranks_of
from pipeline.evaluation.calibration import calibration_error
from pipeline.evaluation.taxonomy import check_rows, lineages
from pipeline.predictions.predictions import Predictions

LABEL = "label"  # the last level: the class itself
NOTHING = -1  # the level of an answer of no rank


@dataclass(frozen=True, eq=False)
class Tree:
    """k classes and the taxa above them: `levels` from the root down, the last of which is the class itself.

    `groups` (k, levels) are codes of the taxon of each class at each level; `names` (k, levels) their names, None where
    a rank is not known, so that no answer is given there: a class without a row goes straight to the root. A class that
    is the whole of its species has no name as a class.
    """

    levels: tuple[str, ...]
    groups: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, classes: list[str] | tuple[str, ...], taxonomy: pd.DataFrame | None) -> "Tree":
        """The tree of a taxonomy, of which no column is needed. BadInput for a class that it lacks."""
        own = pd.Series(list(classes), index=pd.Index(classes), dtype="object")
        if taxonomy is None:
            return cls((LABEL,), np.arange(len(own))[:, None], own.to_numpy()[:, None])
        check_rows(classes, taxonomy)
        rows = taxonomy.loc[list(classes)]
        ranks, named = ranks_of(rows), lineages(rows)
        groups = [pd.factorize(named[rank])[0] for rank in ranks]
        names = [rows[rank].astype("object").where(rows[rank].notna(), None).to_numpy() for rank in ranks]
        if ranks[-1:] == [RANKS[-1]]:  # a class that is all of its species is answered as that
            alone = rows[ranks[-1]].notna().to_numpy() & (np.bincount(groups[-1])[groups[-1]] == 1)
            own = own.where(~alone, None)
        return cls(
            (*ranks, LABEL), np.column_stack([*groups, np.arange(len(own))]), np.column_stack([*names, own.to_numpy()])
        )

    @cached_property
    def named(self) -> np.ndarray:
        """(k, levels) bool: where there is a name to answer with."""
        return ~pd.isna(self.names)

    @cached_property
    def finest(self) -> np.ndarray:
        """(k,) the deepest level at which a class can be answered."""
        return self.named.shape[1] - 1 - self.named[:, ::-1].argmax(axis=1)

    @cached_property
    def sizes(self) -> list[np.ndarray]:
        """How many classes each taxon holds, by level."""
        return [np.bincount(groups) for groups in self.groups.T]

    def line(self, codes: np.ndarray, probabilities: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """(b, levels) probabilities of the taxa above the classes `codes` (b,), never falling towards the root.

        `probabilities` (b, w) are those of the classes `columns` (b, w), or of all; what these leave is shared evenly
        by the others.
        """
        others = len(self.groups) - probabilities.shape[1]
        rest = np.maximum(1 - probabilities.sum(axis=1), 0) / max(others, 1)
        found = np.empty((len(codes), len(self.levels)))
        for level, groups in enumerate(self.groups.T):
            here = groups[codes]
            inside = (groups[None, :] if columns is None else groups[columns]) == here[:, None]
            lacking = self.sizes[level][here] - inside.sum(axis=1)
            found[:, level] = (probabilities * inside).sum(axis=1) + rest * lacking
        climbing = np.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
        return np.minimum(climbing, 1.0)

    def deepest(self, codes: np.ndarray, line: np.ndarray, threshold: float) -> np.ndarray:
        """(b,) the level of the answer, or `NOTHING`."""
        sure = (line > threshold) & self.named[codes]
        last = sure.shape[1] - 1 - sure[:, ::-1].argmax(axis=1)
        return np.where(sure.any(axis=1), last, NOTHING)


def lines(tree: Tree, predictions: Predictions) -> np.ndarray:
    """(n, levels) probabilities of the taxa above the predicted classes. Sparse: nothing of it has seen the labels."""
    found = np.empty((len(predictions), len(tree.levels)))
    for rows in predictions.blocks():
        probabilities = np.exp(predictions.logits[rows] - predictions.log_normaliser[rows, None])
        columns = None
        if predictions.columns is not None:  # the last may be there only for being the true class
            probabilities, columns = probabilities[:, :-1], predictions.columns[rows, :-1]
        found[rows] = tree.line(predictions.predicted[rows], probabilities, columns)
    return found


def right(tree: Tree, predictions: Predictions) -> np.ndarray:
    """(n, levels) bool: whether the predicted class and the true one are of one taxon."""
    return tree.groups[predictions.predicted] == tree.groups[predictions.labels]


def wrong_up_to(tree: Tree, predictions: Predictions) -> np.ndarray:
    """(n,) the highest threshold at which an answer is wrong still; 0 where it is right at any."""
    wrong = ~right(tree, predictions) & tree.named[predictions.predicted]
    return np.where(wrong, lines(tree, predictions), 0.0).max(axis=1)


def thresholds(wrong: np.ndarray, errors: list[float]) -> list[float]:
    """The threshold for each promised share of wrong answers, of n pictures' `wrong_up_to`.

    Raises BadInput for a share that n pictures cannot promise, which is one below 1 / (n + 1).
    """
    falling, found = np.sort(wrong)[::-1], []
    for error in errors:
        allowed = floor(round((len(wrong) + 1) * error, 9)) - 1
        if allowed < 0:
            raise BadInput(
                f"{len(wrong)} val pictures cannot promise that at most {error:.2%} of answers are wrong: it takes at "
                f"least {ceil(round(1 / error, 9)) - 1:,}; they can promise {1 / (len(wrong) + 1):.2%}"
            )
        found.append(float(falling[allowed]) if allowed < len(falling) else 0.0)
    return found


class Answered(NamedTuple):
    """n answers at a threshold: `level` (n,), and of the taxa above what was predicted, (n, levels) each, the
    probability (`line`), whether they are the true ones (`hit`) and have a `name`; at the `finest` level (n,) it ends.
    """

    levels: tuple[str, ...]
    level: np.ndarray
    line: np.ndarray
    hit: np.ndarray
    named: np.ndarray
    finest: np.ndarray


def answered(tree: Tree, predictions: Predictions, threshold: float) -> Answered:
    """How deep predictions are answered."""
    codes, line = predictions.predicted, lines(tree, predictions)
    level = tree.deepest(codes, line, threshold)
    return Answered(tree.levels, level, line, right(tree, predictions), tree.named[codes], tree.finest[codes])


def by_rank(found: Answered) -> pd.DataFrame:
    """What answers at a threshold do: a row a level, from the root's (`nothing`) down.

    `rank`, `answers`, `share` of all, `wrong` of them, `error` (share), and `ece`, the calibration error of that
    level's probability over all pictures whose answer has a name there.
    """
    rows = []
    for number, rank in enumerate(("nothing", *found.levels), start=NOTHING):
        here = found.level == number
        wrong = 0 if number == NOTHING else int((here & ~found.hit[:, number]).sum())
        ece = np.nan
        if number != NOTHING:
            named = found.named[:, number]
            ece = calibration_error(found.line[named, number], found.hit[named, number]) if named.any() else np.nan
        one = {"rank": rank, "answers": int(here.sum()), "share": here.mean(), "wrong": wrong}
        rows.append(one | {"error": wrong / max(here.sum(), 1), "ece": ece})
    return pd.DataFrame(rows)


def depth_figures(found: Answered, error: float) -> dict[str, float]:
    """What answers at a threshold that promises `error` do: which share is wrong, and which is of the finest rank."""
    hit = found.hit[np.arange(len(found.level)), found.level]
    percent = f"{100 * error:g}"
    return {
        f"rank_error_{percent}": float((~hit & (found.level != NOTHING)).mean()),
        f"rank_full_{percent}": float((found.level == found.finest).mean()),
    }
