"""Runs that repeat a choice, as one row with its spread."""

from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.effects import check_columns
from pipeline.config.keys import SEED
from pipeline.evaluation.statistics import over_seeds


def over_repeats(runs: pd.DataFrame, choices: Sequence[str], measure: str) -> pd.DataFrame:
    """Runs that differ in their seed only, as one row: the choices, and `mean`, `sd`, `n`, `low`, `high`.

    `runs` is a table as in `pipeline.comparison.effects`; runs without the figure (they failed) do not count.
    The best mean comes first.
    """
    check_columns(runs, [*choices, measure])
    keys = [choice for choice in choices if choice != SEED]
    scored = runs[runs[measure].notna()]
    groups = scored.groupby(keys, dropna=False, observed=True, sort=False)[measure] if keys else [((), scored[measure])]
    rows = [dict(zip(keys, answers, strict=True)) | over_seeds(figures.to_list()) for answers, figures in groups]
    return pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable", ignore_index=True)
