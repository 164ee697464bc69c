"""Hydra's side of a sweep: its parent run is opened before the first job and closed after the last, come what may."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from pipeline.cli.composing import ComposedOnce
from pipeline.cli.messages import BAD_INPUT, FAILED, check, exit_code, one_line, tell
from pipeline.cli.quoting import as_typed, typed_overrides
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.names import BUDGET_VARIABLE, FORECASTS_VARIABLE, PARENT_VARIABLE, SERVER_VARIABLE, SWEPT_VARIABLE
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.reporting.drawing import DrawingProcess
from pipeline.tracking.places import without_password
from pipeline.tracking.store import Store, is_here

_DIED = "ended before it had a run: what it said stands above; without a word its process died (out of memory?)"


class SweepCallback(Callback):
    """Makes `-m` one parent run in MLflow with its jobs under it, whichever launcher runs them."""

    def __init__(self) -> None:
        self.parent: str | None = None
        self._store = ""
        self._jobs: list[str] = []
        self._forecasts: Path | None = None
        self._seconds: float | None = None  # that all jobs may take
        self.draw: DrawingProcess | None = None
        self.progress: Any = None  # a SweepProgress, which knows MLflow
        self.beside = ExitStack()  # what ends with the sweep

    def __getstate__(self) -> dict[str, Any]:
        """For a launcher's process, whose jobs have what is beside the sweep in the process that was typed."""
        return {**self.__dict__, "draw": None, "progress": None, "beside": ExitStack()}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check what all jobs share, then open the parent. Hydra swallows exceptions here, but no SystemExit."""
        with open_dict(config):
            task = config.copy()
            typed = [str(one) for one in task.pop("hydra").overrides.task]
        try:
            _refuse_resume(typed)
            experiment = _experiment(task, typed)
            overrides = [*sweeper_params(config), *typed]
            jobs = expected_jobs(config, overrides)
            self._jobs = [shlex.join(map(as_typed, job)) for job in jobs]
            hydra: Any = GlobalHydra.instance().hydra
            hydra.config_loader = ComposedOnce(hydra.config_loader)
            first = _check_each(hydra.config_loader, config, jobs)
            self._seconds = first.trainer.time_budget if first else None
            if task.get("estimate"):
                self._foretell(config, swept(overrides) or overrides)
                return
            self._budget(first, jobs)
            store = Store(required=bool(OmegaConf.select(task, "tracking.required")))
            in_process = str(config.hydra.launcher._target_).endswith(".BasicLauncher")  # the jobs run
            if in_process:
                import_module("pipeline.commands.train")  # beside the making of a new store
            store.open()
            if store.stands_in:  # for this whole command, even where the server comes back
                os.environ.pop(SERVER_VARIABLE, None)
        except Exception as error:
            tell(error, "train")
            sys.exit(exit_code(error))
        given, varied = ([as_typed(one) for one in some] for some in (overrides, swept(overrides) or overrides))
        self.begin(experiment, given, varied, anew=task.get("resume") in ("never", None))
        if not in_process:
            self.progress.watch()

    def _budget(self, first: schema.Train | None, jobs: list[list[str]]) -> None:
        """Have the jobs know until when they may last. BadInput where not one of them fits in."""
        os.environ.pop(BUDGET_VARIABLE, None)
        if first is None or self._seconds is None:
            return
        from pipeline.experiment.budget import begun

        if budget := begun(first, list(map(as_typed, jobs[0]))):
            budget.hand_on()

    def begin(self, experiment: str, given: list[str], varied: list[str], *, anew: bool, study: str = "") -> None:
        """Open the parent, in the store that is open; see `sweeps.open_sweep`."""
        # MLflow: `--help` makes a callback as well, and does without
        import mlflow

        from pipeline.tracking import sweeps
        from pipeline.tracking.liveness import Heartbeat
        from pipeline.tracking.sweep_progress import SweepProgress

        self._store = mlflow.get_tracking_uri()
        self.parent = sweeps.open_sweep(experiment, given, varied, self._jobs, anew=anew, study=study)
        self.draw = DrawingProcess()
        self.beside.callback(self.draw.close)
        self.progress = SweepProgress(self.parent, len(self._jobs))
        self.beside.callback(self.progress.end)
        self.beside.enter_context(Heartbeat(self.parent))  # else jobs on other machines would take it for dead
        atexit.register(self.abandon)
        _under_way.append(self)

    def _foretell(self, config: DictConfig, varied: list[str]) -> None:
        """Have the jobs say what they will take, in a folder that goes with the command, and no parent be opened."""
        self._forecasts = Path(str(config.hydra.sweep.dir)) / "forecasts"
        self._forecasts.mkdir(parents=True)
        os.environ[FORECASTS_VARIABLE] = str(self._forecasts)
        os.environ[SWEPT_VARIABLE] = ",".join(override.partition("=")[0] for override in varied)

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Let go of the job's config: Hydra keeps half a megabyte of it for each until the sweep's end, for nobody."""
        job_return.cfg = job_return.hydra_cfg = None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Close the parent, show the jobs best first; exit code 1 where one failed."""
        if self._forecasts is not None:
            from pipeline.cli.outcome import show_forecasts

            os.environ.pop(FORECASTS_VARIABLE)
            if not show_forecasts(self._forecasts, self._jobs, self._seconds):
                sys.exit(FAILED)
            return
        if sys.exc_info()[1] is not None:  # Hydra 1.4 calls this where it gives up too, which `launcher_broke` sees to
            return
        try:
            self.close(_DIED)
        except Exception as error:
            tell(error)
            sys.exit(FAILED)

    def close(self, why: str) -> None:
        """End the parent; jobs that left no run get one that FAILED, and says `why`. Exit code 1 where one failed."""
        from pipeline.cli.outcome import show
        from pipeline.tracking import sweeps

        if self.parent is None:
            return
        self.beside.close()
        parent, self.parent = self.parent, None
        self._return()
        in_time = os.environ.pop(BUDGET_VARIABLE, None) is None
        named = {one: job_name(shlex.split(one)) for one in self._jobs} if in_time else {}
        outcome = sweeps.close_sweep(parent, named, why)
        show(outcome)
        if not in_time and (left := len(set(self._jobs)) - len(outcome.jobs)) > 0:
            print(f"left out for want of time: {counted(left, 'job')}; the same command goes on with them")
        if outcome.failed or not outcome.jobs:
            sys.exit(FAILED)

    def abandon(self) -> None:
        """Broken off: no trace where no job had begun, else FAILED."""
        from pipeline.tracking import sweeps

        self.beside.close()
        if self.parent is not None:
            parent, self.parent = self.parent, None
            try:
                self._return()
            except Stopped as error:  # at the end of the process, where nobody would catch it
                tell(error)
            else:
                sweeps.abandon_sweep(parent)

    def _return(self) -> None:
        """To the store that the parent is in, of which jobs may have found that it was away."""
        if is_here(self._store):  # it never was away
            return
        try:
            Store(self._store).open()
        except BadInput:
            raise Stopped(
                f"the MLflow server {without_password(self._store)} cannot be told that the sweep ended: when it "
                "answers, the same command closes the sweep, and does no job twice"
            ) from None


_under_way: list[SweepCallback] = []  # in the process that was typed, never in a job's


def in_launchers_process() -> bool:
    """Whether this process runs a job for another one, which was typed."""
    return not _under_way


def launcher_broke(error: Exception) -> None:
    """A launcher gave up (joblib does where a worker's process dies): the sweep ends FAILED, every job accounted for.

    Bad input, found before any job began, leaves no trace instead.
    """
    for sweep in _under_way:
        if exit_code(error) == BAD_INPUT:
            sweep.abandon()
        else:
            sweep.close(f"left without an end when the launcher gave up: {one_line(error)}"[:1000])


def drawing_beside() -> DrawingProcess | None:
    """What draws figures beside the next job, where this process has more jobs to come.

    Where each job has a process of its own all cores are taken.
    """
    return next((sweep.draw for sweep in _under_way if sweep.parent is not None), None)


def tell_progress() -> None:
    """At a job's end: how far its sweep is, where the process is the sweep's own."""
    for sweep in _under_way:
        if sweep.progress is not None:
            sweep.progress.tell()


def refuse_alone(hydra: Any) -> None:
    """BadInput where Hydra's own config, of a single job, names what a sweep is to vary."""
    params = hydra.sweeper.get("params")
    if params and str(hydra.mode) == "RunMode.RUN":
        named = f"experiment={hydra.runtime.choices.get('experiment')}"
        raise BadInput(
            f"{named} is a sweep over {', '.join(params)}: type it with -m, python -m pipeline.train -m {named}"
        )


def sweeper_params(config: DictConfig) -> list[str]:
    """What the config itself has Hydra's own sweeper vary, as overrides."""
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_", "")).endswith(".BasicSweeper"):
        return []
    return [f"{key}={value}" for key, value in (sweeper.params or {}).items()]


def expected_jobs(config: DictConfig, overrides: list[str]) -> list[list[str]]:
    """What Hydra's own sweeper will launch, the overrides of each job; nothing where another chooses as it goes."""
    if not str(config.hydra.sweeper.get("_target_", "")).endswith(".BasicSweeper"):
        return []
    loader = GlobalHydra.instance().config_loader()  # knows the files that glob(*) means
    parsed = OverridesParser.create(loader).parse_overrides(overrides)
    jobs = [list(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    if not jobs:
        raise BadInput(f"{' '.join(overrides)}: that is no job at all; give each key at least one value")
    return jobs


def _check_each(loader: Any, config: DictConfig, jobs: list[list[str]]) -> schema.Train | None:
    """Compose and check every job before the first begins, whose config is given back. BadInput that says which one is
    at fault.
    """
    first = None
    for job in jobs:
        composed = loader.load_sweep_config(config, job)
        with open_dict(composed):
            composed.pop("hydra")
        try:
            checked = check(composed, "train")
        except (BadInput, OmegaConfBaseException) as error:
            alike = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
            apart = shlex.join(as_typed(one) for one in job if one not in alike)
            said = one_line(error, "train")
            raise BadInput(f"{said} (in the job {apart or shlex.join(job)}; none was begun)") from None
        first = first or checked
    return first


def note_failure(error: Exception) -> None:
    """Give a sweep's job that ended before it had a run one that FAILED, so that it is seen among the others."""
    if PARENT_VARIABLE not in os.environ or not HydraConfig.initialized():
        return
    from pipeline.tracking import sweeps

    overrides = typed_overrides()
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
        key, _, value = override.lstrip("+").partition("=")
        if key == "resume" and value not in ("auto", "never", "null"):
            raise BadInput(f"{override}: one run goes on at a time, and without -m; with it the same command goes on")


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
