"""Runs side by side: which choice mattered, and which run is worth its cost. Tables in, tables out.

A table of runs has a row a run: `run` (its name), a column a choice (`model`, `regime`, `optimizer.lr`, ...),
and columns of figures (`best/val_accuracy`, `minutes`, ...).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.errors import BadInput, did_you_mean


def varied(runs: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Those of the choices `keys` in which the runs differ."""
    return [key for key in keys if runs[key].astype(str).nunique() > 1]


def effects(runs: pd.DataFrame, keys: Sequence[str], measure: str) -> pd.DataFrame:
    """What each answer to each choice was worth, all else equal: the choice that mattered most first.

    One row an answer: `choice`, `answer`, `runs`, `effect` (by how much its runs differ from the mean run,
    once what the other choices explain is taken away: least squares on main effects, which in a full grid is
    the plain difference of means), and `range`, the distance between the choice's best and worst answer.
    A choice that never varies has no row; choices that vary only together share their effect.
    """
    check_columns(runs, [*keys, measure])
    scored = runs[np.isfinite(runs[measure].astype(float))]
    chosen = varied(scored, keys)
    if not chosen:
        return pd.DataFrame(columns=["choice", "answer", "runs", "effect", "range"])
    answers = [(key, answer) for key in chosen for answer in sorted(scored[key].astype(str).unique())]
    marks = np.column_stack([(scored[key].astype(str) == answer).to_numpy(float) for key, answer in answers])
    score = scored[measure].to_numpy(float)
    # Of all solutions lstsq gives the shortest, which is what shares an effect between inseparable choices.
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
