"""Which answers to which keys set runs apart, in few and short words."""

import re
from collections.abc import Mapping, Sequence

from pipeline.config.keys import NO_CHOICE

_FIRST = ("model", "head", "regime", "augmentation", "metadata", "optimizer", "scheduler", "loss", "data")


def counts(key: str) -> bool:
    """Whether a key is a choice about the network, its training or its pictures."""
    return not key.startswith(NO_CHOICE)


def telling_keys(runs: Sequence[Mapping[str, str]], typed: frozenset[str] = frozenset()) -> list[str]:
    """Of flat configs (`optimizer.lr`: `0.1`) the keys that set the runs apart.

    A key that follows from the names of others (the momentum that comes with sgd) is left out, unless the user
    `typed` it. A run that lacks a key, as it is older than it, does not differ in it.
    """
    every = sorted({key for run in runs for key in run if counts(key)}, key=_place)
    differing = [key for key in every if len({run[key] for run in runs if key in run}) > 1]
    names = [key for key in differing if key.endswith(".name")]

    def tells(key: str) -> bool:
        own = [name for name in names if name == f"{key.partition('.')[0]}.name"]
        if key in typed:  # unless it says no more than its section's name: the weights_file of each model
            return not (own and _follows(key, own, runs))
        return not _follows(key, names, runs)

    return [key for key in differing if key in names or tells(key)]


def _place(key: str) -> tuple[int, bool, str]:
    section = key.partition(".")[0]
    return (_FIRST.index(section) if section in _FIRST else len(_FIRST), not key.endswith(".name"), key)


def _follows(key: str, names: Sequence[str], runs: Sequence[Mapping[str, str]]) -> bool:
    """Whether the names together say the key's answer."""
    told: dict[tuple[str, ...], str] = {}
    for run in runs:
        if key in run and told.setdefault(tuple(run.get(name, "") for name in names), run[key]) != run[key]:
            return False
    return True


def short_key(key: str) -> str:
    """`model.name` as `model`: what one types."""
    return key.removesuffix(".name")


def short_value(key: str, value: str) -> str:
    """A network without its library, a file without its folders, which are nobody's business on a page."""
    if key in ("data.metadata", "data.beside"):
        return ", ".join(one.rpartition("/")[2] for one in re.findall("'([^']*)'", value)) or "none"
    named = key in ("model.name", "model.weights_file", "data.taxonomy", "data.split.file")
    if named or value.startswith(("/", "~/")):
        return value.rpartition("/")[2]
    return value
