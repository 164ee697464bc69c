"""Runs side by side: which choice mattered, and which run is worth its cost. Tables in, tables out.

A table of runs has a row a run: `run` (its name), a column a choice (`model`, `regime`, `optimizer.lr`, ...),
and columns of figures (`best/val_accuracy`, `minutes`, ...).
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean

JOIN = " + "  # between choices, or answers, that count as one


def varied(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Those of the choices `keys` in which the runs differ."""
    return [key for key in keys if runs[key].astype(str).nunique() > 1]


def effects(runs: pd.DataFrame, keys: Sequence[str], measure: str) -> pd.DataFrame:
    """What each answer to each choice was worth, all else equal: the choice that mattered most first.

    One row an answer: `choice`, `answer`, `runs`, `effect` (by how much its runs differ from the mean run,
    once what the other choices explain is taken away: least squares on main effects, which in a full grid is
    the plain difference of means), and `range`, the distance between the choice's best and worst answer.
    A choice that never varies has no row. Choices that these runs cannot tell apart are one, as in `inseparable`:
    `model + head`, with the answers that occur, as `resnet50 + mlp`.
    """
    check_columns(runs, [*keys, measure])
    scored = runs[np.isfinite(runs[measure].astype(float))]
    chosen = varied(scored, keys)
    if not chosen:
        return pd.DataFrame(columns=["choice", "answer", "runs", "effect", "range"])
    answered = {JOIN.join(group): _joined(scored, group) for group in inseparable(scored, chosen)}
    answers = [(choice, answer) for choice, column in answered.items() for answer in sorted(column.unique())]
    marks = np.hstack([_marks(column) for column in answered.values()])
    score = scored[measure].to_numpy(float)
    worth, *_ = np.linalg.lstsq(marks - marks.mean(axis=0), score - score.mean(), rcond=None)
    table = pd.DataFrame(answers, columns=["choice", "answer"])
    table["runs"] = marks.sum(axis=0).astype(int)
    table["effect"] = worth
    means = (table["effect"] * table["runs"]).groupby(table["choice"]).transform("sum")
    table["effect"] -= means / table.groupby("choice")["runs"].transform("sum")
    by_choice = table.groupby("choice")["effect"]
    table["range"] = by_choice.transform("max") - by_choice.transform("min")
    return table.sort_values(
        ["range", "choice", "effect"], ascending=[False, True, False], kind="stable", ignore_index=True
    )


def inseparable(runs: pd.DataFrame, keys: Sequence[str]) -> list[list[str]]:
    """The choices `keys` in groups: what those of one group did cannot be told apart, of different groups it can.

    Two choices are inseparable where they vary only together, or where some answers to one never met the others'
    (each network with learning rates of its own). So are more, where there are too few runs for them all.
    """
    groups = [[key] for key in keys]
    while True:
        spans = [_span(runs, [group]) for group in groups]
        meeting = [pair for pair in combinations(range(len(groups)), 2) if _tangled(runs, groups, spans, pair)]
        if meeting:
            tangled = list(meeting[0])
        else:
            whole = _span(runs, groups)
            rest = [_span(runs, groups[:place] + groups[place + 1 :]) for place in range(len(groups))]
            tangled = [place for place, span in enumerate(spans) if whole - rest[place] < span]
        if not tangled:
            return groups
        together = sorted((key for place in tangled for key in groups[place]), key=list(keys).index)
        groups = [group for place, group in enumerate(groups) if place not in tangled]
        groups.insert(min(tangled), together)


def _tangled(runs: pd.DataFrame, groups: list[list[str]], spans: list[int], pair: tuple[int, int]) -> bool:
    one, other = pair
    return _span(runs, [groups[one], groups[other]]) < spans[one] + spans[other]


def _span(runs: pd.DataFrame, groups: Sequence[Sequence[str]]) -> int:
    """How many independent differences between answers these runs show."""
    if not groups:
        return 0
    marks = np.hstack([_marks(_joined(runs, group)) for group in groups])
    return int(np.linalg.matrix_rank(marks - marks.mean(axis=0)))


def _joined(runs: pd.DataFrame, group: Sequence[str]) -> pd.Series:
    """Each run's answer to choices that count as one."""
    return runs[list(group)].astype(str).agg(JOIN.join, axis=1)


def _marks(answers: pd.Series) -> np.ndarray:
    """(n, answers) 1.0 where a run has that answer, in their sorted order."""
    return (answers.to_numpy()[:, None] == np.sort(answers.unique())[None]).astype(float)


def pareto(runs: pd.DataFrame, cost: str, quality: str) -> pd.Series:
    """Whether no other run is at least as good for no more, and better in one: True on the front."""
    check_columns(runs, [cost, quality])
    ranked = runs.sort_values([cost, quality], ascending=[True, False], kind="stable")
    best_before = ranked[quality].cummax().shift(fill_value=-np.inf)
    return (ranked[quality] > best_before).reindex(runs.index)


def grid(runs: pd.DataFrame, measure: str, rows: str = "model", columns: str = "regime") -> pd.DataFrame:
    """The mean of a figure by two choices; the best row and the best column first."""
    check_columns(runs, [measure, rows, columns])
    table = runs.pivot_table(index=rows, columns=columns, values=measure, aggfunc="mean", observed=True)
    down = table.mean(axis=1).sort_values(ascending=False, kind="stable").index
    across = table.mean(axis=0).sort_values(ascending=False, kind="stable").index
    return table.loc[down, across]


def check_columns(runs: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise BadInput for a column that the table of runs has not."""
    for name in names:
        if name not in runs:
            raise BadInput(f"no run has {name}{did_you_mean(name, map(str, runs.columns))}")
