"""Hydra's side of a sweep: the parent run is opened before the first job and closed after the last, whatever happens."""

import atexit
import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.door import BAD_INPUT, FAILED, check, tell
from pipeline.errors import BadInput


class SweepCallback(Callback):
    """Makes `-m` one parent run in MLflow with its jobs under it, whichever launcher runs them."""

    def __init__(self) -> None:
        self._parent: str | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check what all jobs share, then open the parent. Hydra swallows exceptions here, but no SystemExit."""
        from pipeline import schema

        shared = config.copy()
        with open_dict(shared):
            overrides = OmegaConf.to_container(shared.pop("hydra").overrides.task)
        try:
            checked = check(shared, schema.Train)
            from pipeline.tracking.store import Store

            Store().open()
        except BadInput as error:
            tell(error)
            sys.exit(BAD_INPUT)
        from pipeline.tracking import sweeps

        assert isinstance(overrides, list)
        self._parent = sweeps.open_sweep(checked.tracking.experiment, [str(one) for one in overrides])
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

    def _abandon(self) -> None:
        from pipeline.tracking import sweeps

        if self._parent is not None:
            sweeps.abandon_sweep(self._parent)


def show(outcome: Any) -> None:
    """The table of a sweep, best first, and what to type next."""
    from rich.console import Console
    from rich.table import Table

    from pipeline.tracking.selection import CHOOSE_BY

    table = Table(title=None)
    table.add_column("job", overflow="fold")
    for title in ("val accuracy", "at epoch", "test accuracy", "minutes"):
        table.add_column(title, justify="right")
    table.add_column("status")
    for job in outcome.jobs:
        metrics = job.data.metrics
        minutes = ((job.info.end_time or job.info.start_time) - job.info.start_time) / 60_000
        table.add_row(
            job.data.tags.get("overrides", job.info.run_name),
            _percent(metrics.get(CHOOSE_BY)),
            f"{metrics['best/epoch']:.0f}" if "best/epoch" in metrics else "",
            _percent(metrics.get("test/accuracy")),
            f"{minutes:.1f}",
            job.data.tags.get("error", job.info.status.lower()),
        )
    Console().print(table)
    if any(CHOOSE_BY in job.data.metrics for job in outcome.jobs):
        print(f"next: python -m pipeline.promote sweep={outcome.parent}    (or look: mlflow ui)")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
