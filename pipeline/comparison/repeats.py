"""Runs ranked by val, with test beside it and an interval on every figure."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.comparison.effects import check_columns
from pipeline.evaluation.metrics import summary
from pipeline.evaluation.statistics import LEVEL, interval_of_share, over_seeds
from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions


def leaderboard(
    val: Mapping[str, Predictions], test: Mapping[str, Predictions] | None = None, *, level: float = LEVEL
) -> pd.DataFrame:
    """One row a run, the best by val accuracy first (of equals, the lower val log loss).

    Columns: `run`; `val_accuracy`, `val_low`, `val_high` (Wilson), `val_log_loss`,
    `val_macro_f1`, `val_ece`, `n_val`; and the same for `test` where it is given. Test ranks nothing.
    BadInput where runs have other classes or pictures: such runs are not ranked together.
    """
    splits = {"val": aligned(val)} | ({"test": aligned(test)} if test else {})
    if test and set(val) != set(test):
        lacking = sorted(set(val) ^ set(test))[0]
        raise BadInput(f"{lacking} has predictions for one of val and test only: score it on both")
    rows = [
        {"run": name}
        | {key: value for split, runs in splits.items() for key, value in _row(split, runs[name], level).items()}
        for name in val
    ]
    return pd.DataFrame(rows).sort_values(
        ["val_accuracy", "val_log_loss"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _row(split: str, predictions: Predictions, level: float) -> dict[str, float]:
    figures = summary(predictions)
    interval = interval_of_share(predictions.correct, level=level)
    return {
        f"{split}_accuracy": interval.value,
        f"{split}_low": interval.low,
        f"{split}_high": interval.high,
        **{f"{split}_{name}": figures[name] for name in ("log_loss", "macro_f1", "ece")},
        f"n_{split}": len(predictions),
    }


def over_repeats(
    runs: pd.DataFrame, choices: Sequence[str], measure: str, *, repeat: str = "seed", level: float = LEVEL
) -> pd.DataFrame:
    """Runs that differ in their seed only, as one row: the choices, and `mean`, `sd`, `n`, `low`, `high`.

    `runs` is a table as in `pipeline.comparison.effects`; runs without the figure (they failed) do not count.
    The best mean comes first.
    """
    check_columns(runs, [*choices, measure])
    keys = [choice for choice in choices if choice != repeat]
    scored = runs[runs[measure].notna()]
    groups = scored.groupby(keys, dropna=False, observed=True, sort=False)[measure] if keys else [((), scored[measure])]
    rows = [dict(zip(keys, answers, strict=True)) | over_seeds(figures.to_list(), level) for answers, figures in groups]
    return pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable", ignore_index=True)
