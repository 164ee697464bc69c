"""Hydra's side of a sweep: its parent run is opened before the first job and closed after the last, come what may."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from pipeline.cli.composing import ComposedOnce
from pipeline.cli.messages import BAD_INPUT, FAILED, check, exit_code, one_line, tell
from pipeline.cli.quoting import as_typed, typed_overrides
from pipeline.common.errors import BadInput
from pipeline.common.names import PARENT_VARIABLE, SWEPT_VARIABLE
from pipeline.common.wording import percent
from pipeline.reporting.drawing import DrawingProcess

if TYPE_CHECKING:
    from pipeline.reporting.run_report import Draw
    from pipeline.tracking.runs import TrackedRun

_DIED = "ended before it had a run: what it said stands above; without a word its process died (out of memory?)"


class SweepCallback(Callback):
    """Makes `-m` one parent run in MLflow with its jobs under it, whichever launcher runs them."""

    def __init__(self) -> None:
        self._parent: str | None = None
        self._jobs: list[str] = []
        self.draw: DrawingProcess | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check what all jobs share, then open the parent. Hydra swallows exceptions here, but no SystemExit."""
        with open_dict(config):
            task = config.copy()
            overrides = [str(one) for one in task.pop("hydra").overrides.task]
        try:
            _refuse_resume(overrides)
            experiment = _experiment(task, overrides)
            self._jobs = expected_jobs(config, overrides)
            from pipeline.tracking.store import Store

            store = Store()
            if str(config.hydra.launcher._target_).endswith(".BasicLauncher"):  # jobs run in this process
                import_module("pipeline.commands.train")  # beside the making of a new store
            store.open()
        except Exception as error:
            tell(error)
            sys.exit(exit_code(error))
        from pipeline.tracking import sweeps

        typed, varied = ([as_typed(one) for one in some] for some in (overrides, swept(overrides) or overrides))
        self._parent = sweeps.open_sweep(experiment, typed, varied, len(self._jobs))
        hydra: Any = GlobalHydra.instance().hydra
        hydra.config_loader = ComposedOnce(hydra.config_loader)
        self.draw = DrawingProcess()
        atexit.register(self.abandon)
        _under_way.append(self)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Close the parent, show the jobs best first; exit code 1 where one failed."""
        if sys.exc_info()[1] is not None:  # Hydra 1.4 calls this where it gives up too, which `launcher_broke` sees to
            return
        try:
            self.close(_DIED)
        except Exception as error:
            tell(error)
            sys.exit(FAILED)

    def close(self, why: str) -> None:
        """End the parent; jobs that left no run get one that FAILED, and says `why`. Exit code 1 where one failed."""
        from pipeline.tracking import sweeps

        if self._parent is None:
            return
        self._end_drawing()
        outcome = sweeps.close_sweep(self._parent, {one: job_name(shlex.split(one)) for one in self._jobs}, why)
        self._parent = None
        show(outcome)
        if outcome.failed or not outcome.jobs:
            sys.exit(FAILED)

    def abandon(self) -> None:
        """Broken off: no trace where no job had begun, else FAILED."""
        from pipeline.tracking import sweeps

        self._end_drawing()
        if self._parent is not None:
            sweeps.abandon_sweep(self._parent)
            self._parent = None

    def _end_drawing(self) -> None:
        if self.draw is not None:
            self.draw.close()


_under_way: list[SweepCallback] = []  # in the process that was typed, never in a job's


def launcher_broke(error: Exception) -> None:
    """A launcher gave up (joblib does where a worker's process dies): the sweep ends FAILED, every job accounted for.

    Bad input, found before any job began, leaves no trace instead.
    """
    for sweep in _under_way:
        if exit_code(error) == BAD_INPUT:
            sweep.abandon()
        else:
            sweep.close(f"left without an end when the launcher gave up: {one_line(error)}"[:1000])


def draws_for(run: TrackedRun) -> Draw:
    """How a run's figures are drawn: beside the next job, where this process has more jobs to come, else at once.

    Where each job has a process of its own all cores are taken, and where files are sent they must be there first.
    """
    from pipeline.reporting.run_report import draw_figures

    for sweep in _under_way:
        if sweep.draw is not None and run.in_place:
            return sweep.draw
    return draw_figures


def expected_jobs(config: DictConfig, overrides: list[str]) -> list[str]:
    """What Hydra's own sweeper will launch, a line of overrides a job; nothing where another chooses as it goes."""
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_", "")).endswith(".BasicSweeper"):
        return []
    params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    parsed = OverridesParser.create(_config_loader()).parse_overrides([*params, *overrides])
    jobs = [shlex.join(map(as_typed, job)) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    if not jobs:
        raise BadInput(f"{' '.join(overrides)}: that is no job at all; give each key at least one value")
    return jobs


def _config_loader() -> Any:
    return GlobalHydra.instance().config_loader()  # knows the files that glob(*) means


def note_failure(error: Exception) -> None:
    """Give a sweep's job that ended before it had a run one that FAILED, so that it is seen among the others."""
    if PARENT_VARIABLE not in os.environ or not HydraConfig.initialized():
        return
    overrides = typed_overrides()
    from pipeline.tracking import sweeps
    from pipeline.tracking.store import Store

    Store().open()
    sweeps.record_job(shlex.join(overrides), job_name(overrides), one_line(error))


def job_name(overrides: list[str]) -> str:
    """What sets a job apart from the others of its sweep."""
    swept = os.environ.get(SWEPT_VARIABLE, "").split(",")
    apart = [override for override in overrides if override.partition("=")[0] in swept]
    return " ".join(apart or overrides)[:250]


def swept(overrides: list[str]) -> list[str]:
    """Those that have several values, as Hydra reads them: `seed=0,1` and `model=glob(*)`, but not `x=[a,b]`."""
    parser = OverridesParser.create()
    return [override for override in overrides if parser.parse_override(override).is_sweep_override()]


def _refuse_resume(overrides: list[str]) -> None:
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+") == "resume" and value != "null":
            raise BadInput(f"{override}: one run goes on at a time, and without -m")


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
    from pipeline.reporting.tables import Table
    from pipeline.reporting.terminal import console
    from pipeline.tracking.finished import minutes
    from pipeline.tracking.selection import CHOOSE_BY

    screen = console()
    swept = swept_values(outcome.jobs)
    columns = sorted({key for values in swept for key in values})
    judged = [job.data.tags.get("verdict.kind", "") for job in outcome.jobs]
    verdicts = ["verdict"] if any(kind not in ("", "sound") for kind in judged) else []
    heads = [*columns, "val", "epoch", "test", "minutes", "status", *verdicts]
    body = []
    for job, values, kind in zip(outcome.jobs, swept, judged, strict=True):
        metrics = job.data.metrics
        body.append(
            [
                *(values.get(key, "") for key in columns),
                percent(metrics.get(CHOOSE_BY), 2),
                f"{metrics['best/epoch']:.0f}" if "best/epoch" in metrics else "",
                percent(metrics.get("test/accuracy"), 2),
                f"{minutes(job):.1f}",
                job.info.status.lower(),
                *([kind] if verdicts else []),
            ]
        )
    table = Table(heads, body, heads[len(columns) :])
    if left_out := table.show(screen, spare=("epoch", "minutes", "verdict")):
        print(f"for want of room without {' and '.join(left_out)}; mlflow ui has all")
    if (summed := over_repeats_table(outcome.jobs, swept)) is not None:
        summed.show(screen)
    for job in outcome.failed:
        error = job.data.tags.get("error", "see its messages above")
        print(f"failed: {error if error.startswith(job.info.run_name) else f'{job.info.run_name}: {error}'}")
    if any(CHOOSE_BY in job.data.metrics for job in outcome.jobs):
        print(f"next: python -m pipeline.compare sweep={outcome.parent}    to see what mattered, and how sure that is")
        print(f"or:   python -m pipeline.promote sweep={outcome.parent}    to serve the best (or look: mlflow ui)")


def over_repeats_table(jobs: list[Any], swept: list[dict[str, str]]) -> Any:
    """Where seeds or folds were swept: each choice in one row, mean and spread. Else nothing."""
    import pandas as pd

    from pipeline.comparison.repeats import over_repeats
    from pipeline.config.keys import REPEATS
    from pipeline.reporting.tables import Table
    from pipeline.tracking.selection import CHOOSE_BY

    if not jobs:
        return None
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
    heads, body = [*keys, *(f"{name}: mean ± sd" for name in scored), "n"], []
    for row in summed["val"].to_dict("records"):
        cells = []
        for name in scored:
            same = summed[name]
            for key in keys:
                same = same[same[key] == row[key]]
            cells += [_mean_and_spread(one) for one in same.to_dict("records")] or [""]
        body.append([*(row[key] for key in keys), *cells, f"{row['n']}"])
    return Table(heads, body, heads[len(keys) :], title=f"over {', '.join(repeated)}")


def _mean_and_spread(row: dict[str, Any]) -> str:
    spread = "" if row["n"] < 2 else f" ± {100 * row['sd']:.2f}"
    return f"{100 * row['mean']:.2f}{spread} %"


def swept_values(jobs: list[Any]) -> list[dict[str, str]]:
    """What sets each job apart: its overrides without those that all have alike."""
    given = [dict(one.partition("=")[::2] for one in shlex.split(job.data.tags.get("overrides", ""))) for job in jobs]
    alike = set.intersection(*(set(one.items()) for one in given)) if len(given) > 1 else set()
    return [{key: value for key, value in one.items() if (key, value) not in alike} for one in given]
