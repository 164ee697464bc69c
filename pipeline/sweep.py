"""Hydra's side of a sweep: its parent run is opened before the first job and closed after the last, come what may."""

import atexit
import os
import shlex
import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from pipeline.door import FAILED, check, exit_code, tell
from pipeline.tracking.names import PARENT_VARIABLE


class SweepCallback(Callback):
    """Makes `-m` one parent run in MLflow with its jobs under it, whichever launcher runs them."""

    def __init__(self) -> None:
        self._parent: str | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check what all jobs share, then open the parent. Hydra swallows exceptions here, but no SystemExit."""
        with open_dict(config):
            task = config.copy()
            overrides = [str(one) for one in task.pop("hydra").overrides.task]
        try:
            experiment = _experiment(task, overrides)
            from pipeline.tracking.store import Store

            Store().open()
        except Exception as error:
            tell(error)
            sys.exit(exit_code(error))
        from pipeline.tracking import sweeps

        self._parent = sweeps.open_sweep(experiment, overrides)
        atexit.register(self._abandon)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Close the parent, show the jobs best first; exit code 1 where one failed."""
        from pipeline.tracking import sweeps

        if self._parent is None:
            return
        outcome = sweeps.close_sweep(self._parent)
        self._parent = None
        show(outcome)
        if outcome.failed or not outcome.jobs:
            sys.exit(FAILED)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Give a job whose config is wrong a run that FAILED: its door says why, but never gets as far as a run."""
        if PARENT_VARIABLE not in os.environ:
            return
        with open_dict(config):
            task = config.copy()
            job = task.pop("hydra")
        try:
            check(task, "train")
        except Exception as error:
            from pipeline.tracking.runs import record_failure
            from pipeline.tracking.store import Store

            Store().open()
            tags = {"stage": "train", "overrides": shlex.join(job.overrides.task)}
            record_failure("", name=job.job.override_dirname[:250], tags=tags, error=str(error))

    def _abandon(self) -> None:
        from pipeline.tracking import sweeps

        if self._parent is not None:
            sweeps.abandon_sweep(self._parent)


def _experiment(task: DictConfig, overrides: list[str]) -> str:
    """The experiment of the whole sweep, after a check of what its jobs share.

    Where that hangs on a swept key (a data.root of each job's own), the jobs are checked one by one instead.
    """
    try:
        return str(check(task, "train").tracking.experiment)
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        if any(override.partition("=")[0] in str(error) for override in overrides):
            return "sweep"
        raise


def show(outcome: Any) -> None:
    """The table of a sweep, best first, why jobs failed, and what to type next."""
    from pipeline.terminal import console, show_table
    from pipeline.tracking.finished import minutes
    from pipeline.tracking.selection import CHOOSE_BY

    screen = console()
    swept = swept_values(outcome.jobs)
    columns = sorted({key for values in swept for key in values})
    heads = [*columns, "val", "epoch", "test", "minutes", "status"]
    body = []
    for job, values in zip(outcome.jobs, swept, strict=True):
        metrics = job.data.metrics
        body.append(
            [
                *(values.get(key, "") for key in columns),
                _percent(metrics.get(CHOOSE_BY)),
                f"{metrics['best/epoch']:.0f}" if "best/epoch" in metrics else "",
                _percent(metrics.get("test/accuracy")),
                f"{minutes(job):.1f}",
                job.info.status.lower(),
            ]
        )
    if left_out := show_table(screen, heads, body, names=len(columns), spare=("epoch", "minutes")):
        print(f"for want of room without {' and '.join(left_out)}; mlflow ui has all")
    if (summed := over_repeats_table(outcome.jobs, swept)) is not None:
        screen.print(summed)
    for job in outcome.failed:
        print(f"failed: {job.info.run_name}: {job.data.tags.get('error', 'see its messages above')}")
    if any(CHOOSE_BY in job.data.metrics for job in outcome.jobs):
        print(f"next: python -m pipeline.compare sweep={outcome.parent}    to see what mattered, and how sure that is")
        print(f"or:   python -m pipeline.promote sweep={outcome.parent}    to serve the best (or look: mlflow ui)")


def over_repeats_table(jobs: list[Any], swept: list[dict[str, str]]) -> Any:
    """Where seeds or folds were swept: each choice in one row, mean and spread. Else nothing."""
    import pandas as pd
    from rich.table import Table

    from pipeline.evaluation.leaderboard import over_repeats
    from pipeline.evaluation.ranking import REPEATS
    from pipeline.tracking.selection import CHOOSE_BY

    columns = sorted({key for values in swept for key in values})
    repeated, keys = [key for key in columns if key in REPEATS], [key for key in columns if key not in REPEATS]
    measures = {"val": CHOOSE_BY, "test": "test/accuracy"}
    runs = pd.DataFrame(
        {key: values.get(key, "") for key in keys}
        | {name: job.data.metrics.get(metric) for name, metric in measures.items()}
        for job, values in zip(jobs, swept, strict=True)
    )
    scored = [name for name in measures if runs[name].notna().any()]
    if not repeated or "val" not in scored:
        return None
    summed = {name: over_repeats(runs, keys, name) for name in scored}
    table = Table(*keys, *(f"{name}: mean ± sd" for name in scored), "n", title=f"over {', '.join(repeated)}")
    for number, column in enumerate(table.columns):
        if number < len(keys):
            column.overflow = "fold"
        else:
            column.justify, column.no_wrap = "right", True
    for row in summed["val"].to_dict("records"):
        cells = []
        for name in scored:
            same = summed[name]
            for key in keys:
                same = same[same[key] == row[key]]
            cells += [_mean_and_spread(one) for one in same.to_dict("records")] or [""]
        table.add_row(*(row[key] for key in keys), *cells, f"{row['n']}")
    return table


def _mean_and_spread(row: dict[str, Any]) -> str:
    spread = "" if row["n"] < 2 else f" ± {100 * row['sd']:.2f}"
    return f"{100 * row['mean']:.2f}{spread} %"


def swept_values(jobs: list[Any]) -> list[dict[str, str]]:
    """What sets each job apart: its overrides without those that all have alike."""
    given = [dict(one.partition("=")[::2] for one in shlex.split(job.data.tags.get("overrides", ""))) for job in jobs]
    alike = set.intersection(*(set(one.items()) for one in given)) if len(given) > 1 else set()
    return [{key: value for key, value in one.items() if (key, value) not in alike} for one in given]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
