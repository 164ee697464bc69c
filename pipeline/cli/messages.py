"""What goes wrong in a command, in a line: with the key, the nearest right one, the exit code."""

import errno
import re
import sys
import traceback
from pathlib import Path
from typing import Any, TypeGuard

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput, Stopped, did_you_mean
from pipeline.config import schema

BAD_INPUT, FAILED = 2, 1
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LAUNCHERS = {"joblib": "parallel", "submitit_local": "cluster", "submitit_slurm": "cluster"}  # and the extra of each


def check(composed: DictConfig, command_name: str) -> Any:
    """The composed config as its schema's object, every interpolation resolved.

    Raises BadInput that names the first offending key.
    """
    wanted = getattr(schema, command_name.capitalize())
    values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    try:
        return wanted.model_validate(values)
    except ValidationError as error:
        raise BadInput(_first_problem(error, wanted)) from None


def _first_problem(error: Any, wanted: Any) -> str:
    problem = _nearest_problem(error.errors())
    known = schema.keys(wanted)
    key = _key(problem["loc"], known)
    if problem["type"] == "extra_forbidden" and key in known:
        return _not_of_the_choice(key)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}{_nearest(key, known)}"
    if problem["type"] == "union_tag_invalid":
        asked = problem["ctx"]
        return f"{key}.{asked['discriminator'][1:-1]}={asked['tag']}: should be one of {asked['expected_tags']}"
    if problem["type"] == "value_error":
        return f"{key}={problem['input']}: {problem['ctx']['error']}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}={problem['input']}: {re.sub(r'^Input should', 'should', problem['msg'])}"


def _nearest_problem(problems: list[Any]) -> Any:
    """The first; where a key takes several kinds of value, that of the kind which was given."""
    first = problems[0]
    if first["type"] == "literal_error":
        above = first["loc"][:-1]
        for other in problems[1:]:
            within = other["loc"][: len(above)] == above and len(other["loc"]) > len(above) + 1
            if within and not other["type"].endswith("_type"):
                return other
    return first


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
    return BAD_INPUT if isinstance(error, composing) or _is_forbidden(error) else FAILED


def tell(error: BaseException, command_name: str = "") -> None:
    """Print what went wrong in a command: one line where the cause is known, else the traceback as well."""
    if exit_code(error) == FAILED and not isinstance(error, Stopped) and not _is_full(error):
        traceback.print_exception(error)
        return
    print(f"error: {one_line(error, command_name)}", file=sys.stderr, flush=True)


def one_line(error: BaseException, command_name: str = "") -> str:
    """What went wrong, without line breaks; of errors that users know little of the type as well."""
    if isinstance(error, MissingConfigException):
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        if group == "hydra/launcher" and choice in _LAUNCHERS:
            return f"hydra/launcher: {choice} is not installed: pip install -e '.[{_LAUNCHERS[choice]}]'"
        if error.options:
            choices = [one for one in error.options if one != "base"]  # which others begin from
            return f"{group}={choice}: no such choice{did_you_mean(choice, choices)}"
    if _is_forbidden(error) or _is_full(error):
        return _of_the_system(error)
    struct = re.search(r"Could not override '([^']+)'", str(error))
    if struct:
        return _unknown_key(struct[1], command_name)
    missing = re.search(r"[Mm]issing mandatory value: (\S+)", str(error))
    if missing:
        key = _whole_key(missing[1], command_name)
        return f"{key} is missing: give it as {key}=..."
    by_interpolation = re.match(r"BadInput raised while resolving interpolation: (.+)", str(error))
    said = by_interpolation[1] if by_interpolation else str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException | YAMLError):
        lines += str(cause).splitlines()[:1]
    text = " ".join(lines)
    known = exit_code(error) == BAD_INPUT or isinstance(error, Stopped)
    return text if known and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _is_forbidden(error: BaseException) -> TypeGuard[OSError]:
    """Whether the system lets this user not at a file."""
    return isinstance(error, OSError) and error.errno in _FORBIDDEN and bool(error.filename)


def _is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether a disk, or this user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def _of_the_system(error: OSError) -> str:
    if _is_full(error):
        return f"{error.filename2 or error.filename or 'a file'}: {error.strerror}; free some room, and try it again"
    file, cache = Path(str(error.filename)), cache_folder()
    kept = file.is_relative_to(cache) or cache.is_relative_to(file)
    other = "set PIPELINE_CACHE to another folder" if kept else "work in another folder"
    return f"{error.filename}: {error.strerror}; make it accessible, or {other}"


def _unknown_key(key: str, command_name: str) -> str:
    """A key that is not in what Hydra composed: another choice of a group has it, another command, or none."""
    known = {one.__name__.lower(): schema.keys(one) for one in schema.COMMANDS}
    if key in known.get(command_name, ()):
        return _not_of_the_choice(key)
    having = [name for name, keys in known.items() if key in keys]
    if having:
        return f"unknown key {key}: it belongs to {' and '.join(having)} (--cfg job shows what {command_name} has)"
    return (
        f"unknown key {key}{_nearest(key, known.get(command_name) or [one for keys in known.values() for one in keys])}"
    )


def _whole_key(key: str, command_name: str) -> str:
    """Hydra names a missing key as the file has it, which may be below a section: `root` of `data.root`."""
    known = {name for one in schema.COMMANDS if one.__name__.lower() == command_name for name in schema.keys(one)}
    below = [name for name in known if name.endswith(f".{key}")]
    return below[0] if key not in known and len(below) == 1 else key


def _not_of_the_choice(key: str) -> str:
    return f"{key} does not belong to the {key.partition('.')[0]} chosen (--cfg job shows what does)"


def _nearest(key: str, known: list[str]) -> str:
    near = did_you_mean(key, known)
    return near if near.startswith("; did") else " (--cfg job shows them all)"
