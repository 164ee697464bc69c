"""The frame around every command: Hydra composes, the schema checks, errors become one line and an exit code.

Nothing slow is imported here, so that `--help`, `--cfg job` and a mistake in the configuration answer at once.
"""

import atexit
import gc
import logging
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.cli.given import check_given, overrides_first
from pipeline.cli.gpus import jobs_at_once, take_gpus
from pipeline.cli.messages import FAILED, check, exit_code, tell
from pipeline.cli.quoting import open_mappings, quote_address, quote_path
from pipeline.cli.space import with_space
from pipeline.cli.sweep import in_launchers_process, launcher_broke, note_failure, refuse_alone
from pipeline.cli.workers import at_work
from pipeline.common.atomic import OWN_FOLDERS, clear_abandoned, held_folder
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.interruption import Interrupted, heed, listen
from pipeline.common.names import PARENT_VARIABLE
from pipeline.common.processes import let_the_first_speak, local_rank_given, rank_given
from pipeline.config.defaults import register
from pipeline.config.keys import CONF, REPEATS
from pipeline.tracking.store import Store

# Here `model` chooses a network; elsewhere it is the address of a model that is there.
NETWORK_COMMANDS = ("train", "tune", "embed", "models")

# How the processes of a sweep find the folder of the command that started them.
_FOLDER_VARIABLE = "PIPELINE_OWN_FOLDER"

# Hydra 1.4 takes no version to behave as, 1.3 warns where none is given.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
# 1.4 warns where nobody says which classes `hydra.callbacks` and Hydra's logging may name, 1.3 knows no such question.
_CLASSES: dict[str, Any] = {"execution_whitelist": ["pipeline.*", "hydra.*", "logging.*"]}

# Importing PyTorch and MLflow makes a million objects and hardly a cycle: with Python's 700, looking for those after
# each so many new objects takes an eighth of it.
_COLLECT_SELDOM = (100_000, 50, 50)

log = logging.getLogger(__name__)


def command(name: str, recipe: str, *, begins: bool = False) -> Callable[[], None]:
    """A command as a function without arguments: `recipe` is its `module:function`, imported when it is needed.

    `train` is composed from `conf/train.yaml` and checked by `schema.Train`. Exit codes: 0; 2 for bad input; 1 for
    anything else that failed. In a sweep a failed job is told of and the others go on. What the recipe returns is the
    job's objective, which Hydra's sweepers that search take; of a job that failed it is None, which they take for that.
    With `begins`, the command may be the first in its folder: the store is made beside the recipe's imports.
    """
    job = Job(name, recipe, begins)

    def run() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # hand us the errors; `tell` words them
        listen()
        clear_abandoned(Path(tempfile.gettempdir()), f"{OWN_FOLDERS}*")
        gc.set_threshold(*_COLLECT_SELDOM)
        multirun = bool({"-m", "--multirun"} & set(sys.argv))
        job.failures.clear()
        try:
            sys.argv[1:] = for_hydra(name, sys.argv[1:], multirun=multirun)
            hydra.main(**(VERSION_BASE or _CLASSES), config_path=str(CONF), config_name=name)(job)()
        except Interrupted:
            if name in NETWORK_COMMANDS and not rank_given():  # torchrun ends the others for what the first has told
                print("stopped: the same command again goes on with what is not through", file=sys.stderr)
            raise
        except Exception as error:  # Hydra's own, or its launcher's
            error = _of_hydra(error)
            _say(error, name)
            if multirun and name == "train":
                launcher_broke(error)
            sys.exit(exit_code(error))
        if job.failures:
            sys.exit(FAILED if multirun else exit_code(job.failures[0]))
        if getattr(sys.modules["__main__"], "main", None) is run:
            _leave()

    return run


def for_hydra(name: str, typed: Sequence[str], *, multirun: bool) -> list[str]:
    """What is typed after a command as Hydra can take it; BadInput for slips that it would take for something else."""
    if name == "tune":
        if multirun:
            raise BadInput("-m is of a sweep, which tries all there is; a search is typed without it")
        multirun = True  # values may be several here too
    if multirun and rank_given() is not None:
        raise BadInput("-m starts the processes of each job itself: leave out torchrun or srun, say trainer.devices=2")
    arguments = [open_mappings(quote_path(argument, multirun=multirun)) for argument in overrides_first(typed)]
    arguments = arguments if name in NETWORK_COMMANDS else list(map(quote_address, arguments))
    check_given(arguments, multirun=multirun)
    if any(one.startswith("trainer.time_budget=") for one in arguments):  # each choice once before one is repeated
        arguments.sort(key=lambda one: one.partition("=")[0] not in REPEATS)
    return with_space(arguments) if name == "tune" else arguments


class Job:
    """What Hydra runs with a composed config, in this process or a launcher's."""

    __name__ = "job"  # Hydra asks for it, as of a function

    def __init__(self, name: str, recipe: str, begins: bool) -> None:
        self.name, self.recipe, self.begins = name, recipe, begins
        self.failures: list[Exception] = []

    def __call__(self, composed: DictConfig) -> Any:
        """Nothing is raised through Hydra: it would add lines of its own, and end a sweep's later batches."""
        if PARENT_VARIABLE not in os.environ or not in_launchers_process():
            return self._run(composed)
        with at_work():
            devices = OmegaConf.select(composed, "trainer.devices")
            take_gpus(devices if isinstance(devices, int) else 1)
            return self._run(composed)

    def _run(self, composed: DictConfig) -> Any:
        try:
            listen()  # here too, as a launcher's process has not done so
            if PARENT_VARIABLE not in os.environ:
                refuse_alone(HydraConfig.get())
            config = check(composed, self.name)
            if self.begins and not rank_given() and not getattr(config, "estimate", False):
                Store(required=config.tracking.required)
            module, _, function = self.recipe.partition(":")
            return getattr(import_module(module), function)(config)
        except Exception as error:
            heed()  # who was asked to end may have lost its helpers first, as they were asked too
            _say(error, self.name)
            self.failures.append(error)
            _tell_the_sweep(error)
            return None


def _say(error: Exception, name: str) -> None:
    """Tell of it; of several processes the first one does for all, unless it is none of its."""
    let_the_first_speak()
    if not local_rank_given():
        tell(error, name)


def _tell_the_sweep(error: Exception) -> None:
    """A job of a sweep that fails before it has a run must be seen all the same, in whatever process it was."""
    if PARENT_VARIABLE not in os.environ:
        return
    try:
        note_failure(error)
    except Exception as of_the_store:  # the parent's process will find that the job has no run
        tell(of_the_store)


def _of_hydra(error: Exception) -> Exception:
    """What Hydra or its launcher met, in the words of this program where the cause is known."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return BadInput(f"{where}: Hydra cannot write its own files; without hydra.run.dir and the like it writes none")
    if type(error).__name__ == "TerminatedWorkerError":  # joblib's
        return Stopped(
            "a job's process died, and joblib ended the others: mostly memory is too small for so many at once; "
            "try fewer, hydra.launcher.n_jobs=..."
        )
    if type(error).__name__ == "UncompletedJobError":  # submitit's
        _wait_for_the_others(error)
        log_file = re.search(r"\S+_log\.out", str(error))
        return Stopped(f"a job's process died; what it said last is in {log_file[0] if log_file else 'its log'}")
    if isinstance(error, RuntimeError) and "Could not detect" in str(error) and "srun" in str(error):
        return BadInput(
            "hydra/launcher=submitit: SLURM is not on this machine (no srun); type the command on the cluster's login "
            "machine, or take hydra/launcher=local"
        )
    return error


def _wait_for_the_others(error: Exception) -> None:
    """Until all jobs of submitit have ended: the launcher leaves at the first that died, while others go on."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "launch":
            for job in frame.f_locals.get("jobs", ()):
                job.wait()


def _own_folder() -> str:
    """A folder that is this command's alone, and that of the processes it starts; it goes at the command's end."""
    if _FOLDER_VARIABLE not in os.environ:
        try:
            made = held_folder(OWN_FOLDERS)
        except OSError as error:
            raise BadInput(f"no folder for passing files can be made ({error.strerror}): set TMPDIR to one") from None
        os.environ[_FOLDER_VARIABLE] = made.name
        atexit.register(_remove_own_folder, made, os.getpid())
    return os.environ[_FOLDER_VARIABLE]


def _remove_own_folder(made: tempfile.TemporaryDirectory[str], maker: int) -> None:
    if os.getpid() == maker:  # and not a process forked off it
        made.cleanup()
        os.environ.pop(_FOLDER_VARIABLE, None)


def _networks_here() -> str:
    at_hand = import_module("pipeline.models.at_hand")  # PyTorch: only who sweeps over them needs it
    return ",".join(at_hand.networks_here())


# Here, so that the processes of a launcher, which import this module, know them too.
register("own_folder", _own_folder)
register("networks_here", _networks_here)
register("jobs_at_once", jobs_at_once)


def _leave() -> None:
    """End the process with all that was promised for its end done, but without freeing each object first.

    Python would spend some seconds on that after the libraries loaded here; the system takes the memory back anyway.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
