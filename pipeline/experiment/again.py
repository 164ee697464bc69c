"""A finished run trained once more, in a fresh place: by which code, with which config, on which pictures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.names import PARENT_VARIABLE, SERVER_VARIABLE
from pipeline.common.paths import expanded
from pipeline.config import schema
from pipeline.config.keys import PATH_KEYS
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import FILE, data_config, finished_config
from pipeline.tracking.code import write_code, write_code_of
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.registry import weights_of
from pipeline.tracking.runs import git_sha, machine
from pipeline.tracking.selection import FINISHED, find_run, search
from pipeline.training.engine import trials
from pipeline.training.hardware import instructions

_AGAIN = "again"  # the config's name
_NOT_GIVEN_ON = (PARENT_VARIABLE, SERVER_VARIABLE, "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
_NO_PATHS = ("model.name", "data.split.group", "data.licence", "data.from_path")  # though quoted as paths are
_WORDS = ("class", "picture")  # of data.attributes
_RESOLVED = ("precision", "threads")  # what `auto` was, on which figures hang to the last bit


@dataclass(frozen=True)
class Again:
    """A run that is to be trained once more, and what differs already, a line each."""

    run: Run
    commit: str | None  # None: this program as it stands
    config: dict[str, Any]
    differs: list[str]


def checked(client: MlflowClient, asked: schema.Reproduce) -> Again:
    """What is to be done, all of it looked at before any work. BadInput where it cannot be."""
    if not asked.run:
        raise BadInput("run is missing: give it as run=ID, a finished training's")
    run = find_run(client, asked.run, kinds=("train",))
    if run.info.status != FINISHED:
        raise BadInput(
            f"run={asked.run}: it did not finish ({run.info.status}), so that there is nothing to compare with; "
            f"python -m pipeline.train resume={asked.run} goes on with it"
        )
    commit, lines = _commit(run, asked.code)
    data = data_config(run)
    root = asked.data.root or data.root
    data = data.model_copy(update={"root": root and str(expanded(root, "data.root").absolute())})
    plain = _config(run, commit, data.root)
    own = own_pictures(run, artifact_folder(run, ""), data)
    own.check_unchanged(f"run={asked.run}")
    if own.new:
        raise BadInput(
            f"run={asked.run}: {own.difference}: they would be trained on too; move them away, or name a copy without "
            "them with data.root=FOLDER"
        )
    return Again(
        run, commit, plain, [*lines, *other_machine(run, machine() | {"machine.instructions": instructions()})]
    )


def _commit(run: Run, code: str) -> tuple[str | None, list[str]]:
    """The commit to take (None: what is here), and what is to be said of it."""
    then, _, dirty = run.data.tags.get("git_sha", "unknown").partition("-")
    if code == "here":
        now = git_sha()
        return None, [f"commit: {_short(then)} then, {_short(now)} now"] if now != then or dirty else []
    if then == "unknown":
        raise BadInput(
            f"run={run.info.run_id}: it does not say at which commit the program was: take the program as it stands, "
            "with code=here"
        )
    return then, [f"commit: the program had been changed since {_short(then)}, which is taken as it was"] * bool(dirty)


def _short(sha: str) -> str:
    commit, dash, changed = sha.partition("-")
    return f"{commit[:12]}{dash}{changed}"


def other_machine(run: Run, now: Mapping[str, str]) -> list[str]:
    """What of machine and libraries is `now` other than a run had it, by its tags."""
    return [
        f"{name}: {run.data.tags[name]} then, {value} now"
        for name, value in now.items()
        if name.startswith(("machine.", "version.")) and run.data.tags.get(name, value) != value
    ]


def _config(run: Run, commit: str | None, root: str | None) -> dict[str, Any]:
    """The run's own, as its own code reads it; as this program does where that is to be taken."""
    if commit is None:
        try:
            plain: dict[str, Any] = finished_config(run).model_dump(mode="json")
        except BadInput as error:
            raise BadInput(f"{error}: code=own takes the program as it was") from None
    else:
        plain = yaml.safe_load((artifact_folder(run, "") / FILE).read_text(encoding="utf-8"))
    plain = _whole_paths(plain)
    plain["data"]["root"] = root
    if plain["data"]["split"].get("save"):
        plain["data"]["split"]["save"] = None
    if (weights := plain["model"].get("weights_file")) and weights.startswith(("runs:/", "models:/")):
        plain["model"]["weights_file"] = str(weights_of(weights))  # its store is not asked again
    for name in _RESOLVED:
        value = run.data.tags.get(f"machine.{name}")
        if value and name in plain["trainer"]:
            plain["trainer"][name] = int(value) if value.isdecimal() else value
    if plain.get("resume"):  # the first version knew ids and nothing
        plain["resume"] = "never"
    if "heat_maps" in plain["tracking"]:  # which change no figure, and cost time
        plain["tracking"]["heat_maps"] = False
    return plain


def _whole_paths(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Paths that were typed as seen from the current folder, as seen from any."""

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(one) for one in value]
        there = isinstance(value, str) and value not in _WORDS and value and expanded(value, "").exists()
        return str(expanded(value, "").absolute()) if there else value

    def is_path(key: str) -> bool:
        return (key in PATH_KEYS and key not in _NO_PATHS) or key.startswith("model.join_weights.")

    return {
        key: _whole_paths(value, f"{prefix}{key}.") if isinstance(value, Mapping)
        else whole(value) if is_path(prefix + key) else value
        for key, value in plain.items()
    }  # fmt: skip


def train_again(again: Again, place: Path) -> tuple[MlflowClient, Run]:
    """Train in a folder that is empty, with a store and a cache of its own; nothing of the first run's is touched.

    Raises Stopped, or BadInput where its command says so, where it comes to no end.
    """
    if again.commit is None:
        write_code(place)
    else:
        write_code_of(again.commit, place)
    _write_config(again.config, place / "conf")
    if trials().is_dir():  # else a trial of the moment might choose another engine
        shutil.copytree(trials(), place / "cache" / trials().name)
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_GIVEN_ON}
    uri = f"sqlite:///{place / 'mlflow.db'}"
    environment |= {"PYTHONPATH": str(place), "PIPELINE_CACHE": str(place / "cache"), "MLFLOW_TRACKING_URI": uri}
    command = [sys.executable, "-m", "pipeline.train", "--config-name", _AGAIN]
    code = subprocess.run(command, cwd=place, env=environment, check=False).returncode
    client = MlflowClient(tracking_uri=uri)
    found = search(client, [one.experiment_id for one in client.search_experiments()], "tags.stage = 'train'")
    done = [one for one in found if one.info.status == FINISHED]
    if code or not done:
        kind = BadInput if code == 2 else Stopped  # as the command itself has it
        raise kind(f"run={again.run.info.run_id}: trained once more it came to no end (exit code {code}), see above")
    return client, done[0]


def _write_config(config: Mapping[str, Any], folder: Path) -> None:
    """A config that Hydra finds beside `train.yaml`, with what that says of Hydra itself."""
    usual = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
    own = [one for one in usual["defaults"] if isinstance(one, dict) and next(iter(one)).startswith("override hydra/")]
    hydra = {key: value for key, value in usual.get("hydra", {}).items() if key != "callbacks"}
    whole = {"defaults": ["_self_", *own], **_escaped(config), "hydra": hydra}
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    (folder / f"{_AGAIN}.yaml").write_text(text, encoding="utf-8")


def _escaped(value: Any) -> Any:
    """What OmegaConf takes for that very text."""
    if isinstance(value, Mapping):
        return {key: _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value
