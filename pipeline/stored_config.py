"""What a run was trained with, read back from the config.yaml it left."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pipeline.defaults import completed, of_a_stored
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlflow.entities import Run

    from pipeline import schema

FILE = "config.yaml"
# Keys that may be given beside resume=ID: whatever stands under them, the figures are the same.
GIVEN_ANEW = ("trainer.num_workers", "trainer.keep_epochs", "trainer.feature_cache_gb", "data.cache", "data.root")

log = logging.getLogger("pipeline.train")


def unfinished_config(run: Run, given: schema.Train, typed: Sequence[str] = ()) -> schema.Train:
    """The config of a run that broke off, to go on with it; of the overrides `typed`, the `given` answers that may be.

    BadInput where it cannot go on, or where others were typed that are not the run's own.
    """
    from pipeline.tracking.runs import flatten, home
    from pipeline.training.checkpoints import LAST

    run_id = run.info.run_id
    if not (home(run) / "checkpoints" / LAST).is_file():
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
    from pipeline.tracking.finished import artifact_folder

    return _checked(artifact_folder(run, ""), run)


def data_config(run: Run) -> schema.Data:
    """Which pictures a run was trained and tested on. BadInput where it left no word of them."""
    from pydantic import TypeAdapter, ValidationError

    from pipeline import schema
    from pipeline.tracking.finished import artifact_folder, label

    try:
        stored = _read(artifact_folder(run, ""))
        data, _ = completed(stored["data"], of_a_stored(stored)["data"])
        return TypeAdapter(schema.Data).validate_python(data)
    except (OSError, KeyError, TypeError, AttributeError, ValidationError):
        raise BadInput(f"run {label(run)} left no config of its pictures: name them with data=...") from None


def _checked(folder: Path, run: Run) -> schema.Train:
    """What is stored, completed where it is older than a key."""
    import yaml

    from pipeline.tracking.finished import label

    try:
        stored = _read(folder)
        plain, added = completed(stored, of_a_stored(stored))
    except (OSError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"the {FILE} of {label(run)} cannot be used ({str(error).splitlines()[0]})") from None
    if added:
        log.info("%s is older than some keys, which are as today's defaults: %s", label(run), ", ".join(added))
    return _valid(plain, run)


def _read(folder: Path) -> Any:
    import yaml

    return yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))


def _valid(plain: Mapping[str, Any], run: Run) -> schema.Train:
    from pydantic import ValidationError

    from pipeline import schema
    from pipeline.tracking.finished import label

    try:
        return schema.Train.model_validate(plain)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise BadInput(f"the {FILE} of {label(run)} cannot be used ({place}: {problem['msg']})") from None
