"""The groups of a run's own pictures, by which answers to several pictures of one animal are calibrated."""

from __future__ import annotations

import logging

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.data.groups import with_groups
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.question import trained_by
from pipeline.experiment.stored import data_config
from pipeline.tracking.finished import artifact_folder

log = logging.getLogger("pipeline.promote")


def groups_of_run(client: MlflowClient, run: Run, asked: str | None) -> dict[str, str] | None:
    """The groups of a run's own pictures by their ids: those `asked` for, else those of its split.

    None where it has none, or, which is said, its pictures are not at hand; BadInput where they were asked for.
    """
    of = trained_by(client, run)
    how = asked or of.data.params.get("data.split.group", "None")
    if how == "None":
        return None
    try:
        data = data_config(of)
        own = own_pictures(of, artifact_folder(of, ""), data).table
        table = with_groups(own, how, "group" if asked else "data.split.group")
    except BadInput as error:
        if asked:
            raise
        log.warning("warning: answers to several pictures of one animal are calibrated as those to one: %s", error)
        return None
    rows = table.rows.dropna(subset=[how])
    return dict(zip(rows["path"], rows[how], strict=True))
