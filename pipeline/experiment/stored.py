"""What a run was trained with, read back from the config.yaml it left."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Run
from pydantic import TypeAdapter, ValidationError

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.config.defaults import completed, flatten, of_a_stored
from pipeline.config.keys import GIVEN_ANEW, RENAMED_HEADS
from pipeline.tracking.finished import artifact_folder, label
from pipeline.tracking.places import home
from pipeline.training.checkpoints import has_state

FILE = "config.yaml"

log = logging.getLogger("pipeline.train")


def unfinished_config(run: Run, given: schema.Train, typed: Sequence[str] = ()) -> schema.Train:
    """The config of a run that broke off, to go on with it; of the overrides `typed`, the `given` answers that may be.

    BadInput where it cannot go on, or where others were typed that are not the run's own.
    """
    run_id = run.info.run_id
    if not has_state(home(run) / "checkpoints"):
        raise BadInput(f"resume={run_id}: there is nothing to go on from ({run.info.status.lower()}); train it anew")
    own = _checked(home(run), run)
    new, old = flatten(given.model_dump(mode="json")), flatten(own.model_dump(mode="json"))
    plain: dict[str, Any] = own.model_dump(mode="json")
    others: dict[str, str] = {}
    for override in typed:
        named = override.lstrip("+~").partition("=")[0].partition("@")[0]
        answered = [key for key in new if key == named or key.startswith(f"{named}.")]
        for key in answered:
            if key.startswith(GIVEN_ANEW):
                section, _, name = key.partition(".")
                plain[section][name] = new[key]
            elif key != "resume" and new[key] != old.get(key):
                others.setdefault(override, f"{override} (its {key} is {old.get(key)})")
        if not answered:  # experiment=..., which answers to many keys
            others[override] = override
    if others:
        raise BadInput(
            f"resume={run_id} goes on with the run's own config: leave out {', '.join(others.values())}; "
            f"beside it can stand {', '.join(GIVEN_ANEW)}"
        )
    return _valid(plain | {"resume": run_id}, run)


def finished_config(run: Run) -> schema.Train:
    """The config of a run that came to its end. BadInput where it is gone, or has keys of another version."""
    return _checked(artifact_folder(run, ""), run)


def data_config(run: Run) -> schema.Data:
    """Which pictures a run was trained and tested on. BadInput where it left no word of them."""
    try:
        stored = _read(artifact_folder(run, ""))
        data, _ = completed(stored["data"], of_a_stored(stored)["data"])
        return TypeAdapter(schema.Data).validate_python(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(
            f"the {FILE} of {label(run)} cannot be used ({str(error).splitlines()[0]}): name pictures with data=..."
        ) from None
    except (OSError, KeyError, TypeError, AttributeError, ValidationError):
        raise BadInput(f"run {label(run)} left no config of its pictures: name them with data=...") from None


def _checked(folder: Path, run: Run) -> schema.Train:
    """What is stored, completed where it is older than a key."""
    try:
        stored = _read(folder)
        plain, added = completed(stored, of_a_stored(stored))
    except (OSError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"the {FILE} of {label(run)} cannot be used ({str(error).splitlines()[0]})") from None
    if added:
        log.info("%s is older than some keys, which are as today's defaults: %s", label(run), ", ".join(added))
    return _valid(plain, run)


def _read(folder: Path) -> Any:
    stored = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
    head = stored.get("head", {})
    head["name"] = RENAMED_HEADS.get(head.get("name"), head.get("name"))
    return stored


def _valid(plain: Mapping[str, Any], run: Run) -> schema.Train:
    try:
        return schema.Train.model_validate(plain)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise BadInput(f"the {FILE} of {label(run)} cannot be used ({place}: {problem['msg']})") from None
