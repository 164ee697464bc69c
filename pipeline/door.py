"""The frame around every command: Hydra composes, the schema checks, errors become one line and an exit code.

Nothing slow is imported here, so that `--help`, `--cfg job` and a mistake in the configuration answer at once.
"""

import atexit
import gc
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.errors import BadInput, Stopped, did_you_mean
from pipeline.tracking.names import PARENT_VARIABLE

CONF = Path(__file__).resolve().parent.parent / "conf"
BAD_INPUT, FAILED = 2, 1
# Keys whose value is a path or a filter: quoted before Hydra's grammar sees them.
PATH_KEYS = (
    "data.root",
    "data.file",
    "data.categories",
    "data.taxonomy",
    "data.lists",
    "data.train",
    "data.val",
    "data.split.file",
    "data.split.save",
    "model.weights_file",
    "images",
    "output",
    "filter",
)

# Here `model` chooses a network; elsewhere it is the address of a model that is there.
NETWORK_COMMANDS = ("train",)

# How the processes of a sweep find the folder of the command that started them.
_FOLDER_VARIABLE = "PIPELINE_OWN_FOLDER"

# Importing PyTorch and MLflow makes a million objects and hardly a cycle: with Python's 700, looking for those after
# each so many new objects takes an eighth of it.
_COLLECT_SELDOM = (100_000, 50, 50)

log = logging.getLogger(__name__)


def door(command_name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Decorate a command's recipe, `recipe(config) -> None`, so that it can be called without arguments.

    `train` is composed from `conf/train.yaml` and checked by `schema.Train`. Exit codes: 0; 2 for bad input; 1 for
    anything else that failed. In a sweep a failed job is told of and the others go on.
    """

    def decorate(recipe: Callable[[Any], None]) -> Callable[[], None]:
        failures: list[Exception] = []

        def job(composed: DictConfig) -> int:
            # Nothing is raised through Hydra: it would add lines of its own, and end a sweep's later batches.
            try:
                recipe(check(composed, command_name))
            except Exception as error:
                tell(error)
                failures.append(error)
                _tell_the_sweep(error)
                return exit_code(error)
            return 0

        def command() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # hand us the errors; `tell` words them
            _end_in_order()
            gc.set_threshold(*_COLLECT_SELDOM)
            multirun = bool({"-m", "--multirun"} & set(sys.argv))
            failures.clear()
            arguments = [open_tags(quote_path(argument, multirun=multirun)) for argument in sys.argv[1:]]
            sys.argv[1:] = arguments if command_name in NETWORK_COMMANDS else list(map(quote_address, arguments))
            try:
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=command_name)(job)()
            except KeyboardInterrupt:
                sys.exit(128 + signal.SIGINT)
            except Exception as error:  # Hydra's own, or its launcher's
                error = _of_hydra(error)
                tell(error)
                if multirun and command_name in NETWORK_COMMANDS:
                    from pipeline.sweep import launcher_broke

                    launcher_broke(error)
                sys.exit(exit_code(error))
            if failures:
                sys.exit(FAILED if multirun else exit_code(failures[0]))
            if recipe.__module__ == "__main__":
                _leave()

        command.__doc__ = recipe.__doc__
        return command

    return decorate


def _tell_the_sweep(error: Exception) -> None:
    """A job of a sweep that fails before it has a run must be seen all the same, in whatever process it was."""
    if PARENT_VARIABLE not in os.environ:
        return
    from pipeline.sweep import note_failure

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
    return error


def _folder_name(path: str | None) -> str:
    if not path:
        return ""
    found = Path(path).expanduser().resolve()
    return found.stem if found.is_file() else found.name


def _own_folder() -> str:
    """A folder that is this command's alone, and that of the processes it starts; it goes at the command's end."""
    if _FOLDER_VARIABLE not in os.environ:
        try:
            os.environ[_FOLDER_VARIABLE] = folder = tempfile.mkdtemp(prefix="pipeline-")
        except OSError as error:
            raise BadInput(f"no folder for passing files can be made ({error.strerror}): set TMPDIR to one") from None
        atexit.register(_remove_own_folder, folder, os.getpid())
    return os.environ[_FOLDER_VARIABLE]


def _remove_own_folder(folder: str, maker: int) -> None:
    if os.getpid() == maker:  # and not a process forked off it
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(_FOLDER_VARIABLE, None)


# Here, so that the processes of a launcher, which import this module, know them too.
OmegaConf.register_new_resolver("folder_name", _folder_name, replace=True)
OmegaConf.register_new_resolver("own_folder", _own_folder, replace=True)


def _end_in_order() -> None:
    """A request to end, or a terminal that closes, unwinds like any error, so that no run stays RUNNING."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup has it ignored
            signal.signal(number, lambda received, _frame: sys.exit(128 + received))


def _leave() -> None:
    """End the process with all that was promised for its end done, but without freeing each object first.

    Python would spend some seconds on that after the libraries loaded here; the system takes the memory back anyway.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def check(composed: DictConfig, command_name: str) -> Any:
    """The composed config as its schema's object, every interpolation resolved.

    Raises BadInput that names the first offending key.
    """
    from pydantic import ValidationError

    from pipeline import schema as schemas

    schema = getattr(schemas, command_name.capitalize())
    values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise BadInput(_first_problem(error, schema)) from None


def _first_problem(error: Any, schema: Any) -> str:
    from pipeline.schema import keys

    problem = error.errors()[0]
    known = keys(schema)
    key = _key(problem["loc"], known)
    if problem["type"] == "extra_forbidden" and key in known:
        group = key.partition(".")[0]
        return f"{key} does not belong to the {group} chosen (--cfg job shows what does)"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}{_nearest(key, known)}"
    if problem["type"] == "value_error":
        return f"{key}={problem['input']}: {problem['ctx']['error']}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}={problem['input']}: {re.sub(r'^Input should', 'should', problem['msg'])}"


def _key(place: tuple[int | str, ...], known: list[str]) -> str:
    """The dotted key of a problem, without what pydantic puts between (which member of a union it tried)."""
    parts: list[str] = []
    for number, part in enumerate(place, start=1):
        unknown_key = number == len(place) and "[" not in str(part)
        if isinstance(part, int) or ".".join([*parts, part]) in known or unknown_key:
            parts.append(str(part))
    return ".".join(parts)


def exit_code(error: BaseException) -> int:
    """2 where the user can put it right, else 1."""
    composing = (BadInput, HydraException, OmegaConfBaseException, YAMLError)
    return BAD_INPUT if isinstance(error, composing) else FAILED


def tell(error: BaseException) -> None:
    """Print what went wrong: one line where the cause is known, else the traceback as well."""
    if exit_code(error) == FAILED and not isinstance(error, Stopped):
        traceback.print_exception(error)
        return
    print(f"error: {one_line(error)}", file=sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """What went wrong, without line breaks; of errors that users know little of the type as well."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={choice}: no such choice{did_you_mean(choice, error.options)}"
    struct = re.search(r"Could not override '([^']+)'", str(error))
    if struct:
        return f"unknown key {struct[1]}{_nearest_key(struct[1])}"
    missing = re.search(r"[Mm]issing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing[1]} is missing: give it as {missing[1]}=..."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException | YAMLError):
        lines += str(cause).splitlines()[:1]
    text = " ".join(lines)
    known = exit_code(error) == BAD_INPUT or isinstance(error, Stopped)
    return text if known and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _nearest_key(key: str) -> str:
    from pipeline import schema

    return _nearest(key, [name for command in schema.COMMANDS for name in schema.keys(command)])


def _nearest(key: str, known: list[str]) -> str:
    near = did_you_mean(key, known)
    return near if near.startswith("; did") else " (--cfg job shows them all)"


def quote_address(argument: str) -> str:
    """`model=models:/birds@champion` as Hydra can take it: it would look for that among conf/model's networks.

    A value that is a mapping is no choice of a file for it; `schema.Address` takes the text out again.
    """
    key, equals, value = argument.partition("=")
    if key != "model" or not equals or value[:1] in ("", "{") or value == "null":
        return argument
    text = value.strip("'\"").replace("\\", "\\\\").replace("'", "\\'")
    return f"model={{address:'{text}'}}"


def open_tags(argument: str) -> str:
    """`tracking.tags.site=reef` and `tracking.tags={site: reef}` as Hydra can take them: it would know no such key.

    Tags are free, all other keys closed.
    """
    return f"++{argument.lstrip('+')}" if re.match(r"\+?tracking\.tags(\.[^=]+)?=", argument) else argument


def quote_path(argument: str, *, multirun: bool = False) -> str:
    """`data.root=~/photos (1), a=b` as Hydra's grammar can take it; other arguments unchanged.

    In a sweep an unquoted comma still separates values, unless the whole text is a path that exists.
    """
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or value[:1] in ("'", '"') or value in ("", "null"):
        return argument
    if multirun and "," in value and not Path(value).expanduser().exists():
        return argument
    # Hydra's quoted text: a quote, and the backslashes right before one, are escaped.
    text = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    return f"{key}='{text.replace('${', chr(92) + '${')}'"
