"""What `conf/` answers to each key of training where nobody says otherwise, for the choices that a config has made.

Read without Hydra, so that a config stored by an earlier version can be completed from any command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import omegaconf
from omegaconf import DictConfig, OmegaConf

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.config.keys import CONF

# What earlier versions did before there was the key, where today's default is something else.
_BEFORE = {"data": {"label_depth": 1, "labels_from": 0, "locations_from": 0}}
# Mappings whose keys are the user's, or a recipe's: they are complete as they stand.
_FREE = ("options", "tags", "lr", "class_weights")


def _folder_name(path: str | None) -> str:
    if not path:
        return ""
    try:
        found = expanded(path, "").resolve()
        return found.stem if found.is_file() else found.name
    except (BadInput, OSError, RuntimeError):  # told of by who reads it
        return path


def register(name: str, function: Callable[..., Any]) -> None:
    """Have `${name:...}` in `conf/` call a function."""
    # The older name warns in OmegaConf 2.4, where the newer is what it was; in 2.3 that one only raises.
    old = omegaconf.__version__.startswith("2.3.")
    add: Any = OmegaConf.register_new_resolver if old else OmegaConf.register_resolver
    add(name, function, replace=True)


# Here, so that whoever reads `conf/` knows it: the processes of a launcher too, and those that read a stored config.
register("folder_name", _folder_name)


def defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The default of each key that has one, nested, for the choices (`model.name`, `data.source`) of a plain config.

    Where `conf/` has no file of a choice (a network typed as `model.name=timm/...`), those of the default choice.
    """
    top, groups = _train()
    tree: Any = OmegaConf.merge(top, {group: _section(group, _file(group, config, groups[group])) for group in groups})
    needed = [f"{group}.{key}" for group in groups for key in tree[group] if OmegaConf.is_missing(tree[group], key)]
    for key in needed:  # data.name is made of data.root
        group, _, name = key.partition(".")
        OmegaConf.update(tree, key, str((config.get(group) or {}).get(name) or "").replace("${", "\\${"))
    plain: Any = OmegaConf.to_container(tree, resolve=True)
    for key in needed:
        group, _, name = key.partition(".")
        del plain[group][name]
    return dict(plain)


def of_a_stored(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config that was stored before there was a key meant by its lack: mostly what is the default today."""
    plain = defaults(config)
    for group, answers in _BEFORE.items():
        plain[group] |= {key: answer for key, answer in answers.items() if key in plain[group]}
    return plain


def completed(
    stored: Mapping[str, Any], answers: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """A stored config with the keys that it lacks as in `answers` (nested), and which these are, dotted."""
    plain, added = dict(stored), []
    for key, answer in answers.items():
        if key not in plain:
            plain[key] = answer
            added.append(f"{prefix}{key}")
        elif isinstance(answer, Mapping) and isinstance(plain[key], Mapping) and key not in _FREE:
            plain[key], more = completed(plain[key], answer, f"{prefix}{key}.")
            added += more
    return plain, added


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"trainer": {"epochs": 3}}` as `{"trainer.epochs": 3}`; lists stay whole, an empty mapping is `{}`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@cache
def _train() -> tuple[DictConfig, dict[str, str]]:
    """The keys of training that are in no group, and the groups with their default choices."""
    top = OmegaConf.load(CONF / "train.yaml")
    assert isinstance(top, DictConfig)
    listed = [entry for entry in top.pop("defaults") if isinstance(entry, DictConfig)]
    top.pop("hydra", None)
    groups = {str(group): choice for entry in listed for group, choice in entry.items() if choice}
    return top, {group: choice for group, choice in groups.items() if " " not in group}  # no `override ...`


def _file(group: str, config: Mapping[str, Any], default: str) -> Path:
    section = config.get(group)
    name = section.get("source" if group == "data" else "name") if isinstance(section, Mapping) else None
    folder = CONF / group
    if name and (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    named = (
        file
        for file in sorted(folder.glob("*.yaml"))
        if f"name: {name}" in file.read_text(encoding="utf-8").splitlines()
    )
    return next(named, folder / f"{default}.yaml")


@cache
def _section(group: str, file: Path) -> Any:
    """A choice's keys, with those of the files that it builds on."""
    own = OmegaConf.load(file)
    assert isinstance(own, DictConfig)
    below = [name for name in own.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    return OmegaConf.merge(*(_section(group, CONF / group / f"{name}.yaml") for name in below), own)
