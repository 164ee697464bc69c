"""What a run was trained with, read back from the config.yaml it left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.door import CONF
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from pipeline import schema

FILE = "config.yaml"


def unfinished_config(run_id: str) -> schema.Train:
    """The config of a run that broke off, to go on with it. BadInput where it cannot."""
    from mlflow import MlflowClient

    from pipeline.tracking.runs import home
    from pipeline.tracking.selection import find_run
    from pipeline.training.checkpoints import LAST

    run = find_run(MlflowClient(), run_id)
    if not (home(run) / "checkpoints" / LAST).is_file():
        raise BadInput(f"resume={run_id}: there is nothing to go on from ({run.info.status.lower()}); train it anew")
    return _checked(home(run), run, resume=run_id)


def finished_config(run: Run) -> schema.Train:
    """The config of a run that came to its end. BadInput where it is gone, or has keys of another version."""
    from pipeline.tracking.finished import artifact_folder

    return _checked(artifact_folder(run, ""), run)


def pictures_of(client: MlflowClient, run: Run) -> schema.Data:
    """Which pictures a run was trained and tested on; an ensemble's are those of its members."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from pipeline import schema
    from pipeline.ensembles.recipe import Recipe
    from pipeline.tracking.finished import artifact_folder, label
    from pipeline.tracking.selection import find_run

    if run.data.tags.get("stage") == "ensemble":
        member = run.data.tags.get("best_member") or Recipe.read(artifact_folder(run, "ensemble")).run_ids[0]
        return pictures_of(client, find_run(client, member))
    try:
        stored = yaml.safe_load((artifact_folder(run, "") / FILE).read_text(encoding="utf-8"))["data"]
        today = yaml.safe_load(
            (CONF / "data" / "base.yaml").read_text(encoding="utf-8")
        )  # for keys that are newer than the run
        plain = {**today, **stored, "split": {**today["split"], **stored["split"], "save": None}}
        return TypeAdapter(schema.Data).validate_python(plain)
    except (OSError, KeyError, TypeError, ValidationError):
        raise BadInput(f"run {label(run)} left no config of its pictures: name them with data=...") from None


def _checked(folder: Path, run: Run, **changes: Any) -> schema.Train:
    import yaml
    from pydantic import ValidationError

    from pipeline import schema
    from pipeline.tracking.finished import label

    try:
        return schema.Train.model_validate({**yaml.safe_load((folder / FILE).read_text(encoding="utf-8")), **changes})
    except (OSError, TypeError, yaml.YAMLError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"the {FILE} of {label(run)} cannot be used ({reason})") from None
