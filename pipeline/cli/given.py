"""What is typed, looked at before Hydra composes it: slips that it would take for something else."""

from collections.abc import Sequence
from typing import NoReturn

import yaml
from hydra._internal.utils import get_args_parser

from pipeline.common.errors import BadInput
from pipeline.config.keys import GROUPS, PATH_KEYS

# Hydra's options that another argument follows.
_WITH_VALUE = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd",
    "--experimental-rerun",
)  # fmt: skip
# An empty one is most often a shell's variable that is not set.
_NEVER_EMPTY = (*PATH_KEYS, "run", "resume", "sweep", "model")


def overrides_first(arguments: Sequence[str]) -> list[str]:
    """What is typed with overrides before the options, as Hydra's parser wants it: `seed=0 -m model=a` is one thing.

    Raises `BadInput` for an option that is none.
    """
    options: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        after = options[-1] if options else ""
        is_value = after in _WITH_VALUE or (after in ("--info", "-i") and "=" not in argument)
        (options if argument.startswith("-") or is_value else overrides).append(argument)
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # argparse has no other way to word all of its errors
    parser.parse_args([*overrides, *options])
    return [*overrides, *options]


def _refuse(message: str) -> NoReturn:
    raise BadInput(f"{message}; --help lists what can be given")


def check_given(arguments: Sequence[str], *, multirun: bool) -> None:
    """Raise `BadInput` for an id or a path that is given as nothing, and for a group's answer that is no name."""
    for argument in arguments:
        key, equals, value = argument.lstrip("+").partition("=")
        if not equals:
            continue
        if not key:
            raise BadInput(f"{argument}: it names no key, as in seed{argument}; --cfg job shows the keys")
        if key in _NEVER_EMPTY and value.strip("\"' ") == "":
            raise BadInput(f"{key}= is empty: give it a value (a shell's variable may not be set), or leave it out")
        if key in GROUPS and value.startswith("{") and not value.startswith("{address:"):
            raise BadInput(f"{key}={value}: an answer is the name of a file in conf/{key}/; --help lists them")
        is_address = key == "model" and ":" in value  # of a model that is there, in the commands that ask one
        if (key in GROUPS or key == "experiment") and not is_address:
            _check_answer(key, value, multirun=multirun)


def _check_answer(group: str, value: str, *, multirun: bool) -> None:
    if value.startswith("["):
        inside = value.strip("[] ").replace(" ", "")
        raise BadInput(f"{group}={value}: one answer at a time; to run each in turn: -m {group}={inside}")
    if "," in value and not multirun and "(" not in value:
        raise BadInput(f"{group}={value}: one answer at a time; to run each in turn: -m {group}={value}")
    for answer in value.split(",") if "(" not in value else []:
        if not isinstance(_plain(answer), str) and (group, answer) != ("experiment", "null"):
            raise BadInput(f"{group}={answer}: an answer is the name of a file in conf/{group}/; --help lists them")


def _plain(answer: str) -> object:
    """As YAML reads it: a number, true, null, else text."""
    try:
        return yaml.safe_load(answer)
    except yaml.YAMLError:  # Hydra's own grammar may take it, or says why not
        return answer
