"""Look at the pictures before training:   python -m pipeline.explore data=folder data.root=~/photos"""

from __future__ import annotations

import logging
from dataclasses import replace

from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.config.defaults import flatten
from pipeline.data.beside.metadata import coarsened
from pipeline.data.digest import class_counts, data_digest
from pipeline.data.files import write_csv
from pipeline.data.survey.statistics import figures, unreadable
from pipeline.experiment import build
from pipeline.experiment.resembling import features_to_compare
from pipeline.experiment.survey import image_size, look, mended_split, refusing_nothing
from pipeline.reporting.page import save
from pipeline.reporting.survey_page import Survey, findings, survey_page
from pipeline.tracking.runs import TrackedRun, dataset_of, git_sha, tracked_run
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.explore")
_AUGMENTED, _VIEWS = 3, 6  # pictures, and how often each is changed


def run(config: schema.Explore) -> None:
    """Open every picture, say what was found; one run in MLflow and one page to read."""
    store, data = Store(required=config.tracking.required), refusing_nothing(config.data)
    image_size(data)  # before any work
    given = build.all_pictures(data)
    table = build.picture_table(data, build.split_pictures(data, given))
    features = config.explore.features and features_to_compare(config.explore.features, table)
    store.open()
    tags = {"stage": "explore", "data": data.name, "git_sha": git_sha(), "data_digest": data_digest(table)}
    with tracked_run(
        config.tracking.experiment, name=config.tracking.run_name, tags=tags | config.tracking.tags,
        params=flatten(config.model_dump(mode="json", include={"data", "explore"})), required=config.tracking.required,
    ) as run:  # fmt: skip
        log.info("%s: %s of %s", table.name, counted(len(table.rows), "picture"), counted(len(table.classes), "class"))
        found = look(config, table, given, features or None)
        found = replace(found, mended=mended_split(found, run))
        record(found, run)
        shown = found.table.with_rows(coarsened(found.table.rows, config.tracking.coarsen_places))
        file = save(survey_page(replace(found, table=shown)), run.folder / "explore.html")
        for finding in findings(found):
            log.warning("warning: %s", finding)
        if found.proposed:
            log.info("the pictures' names agree: %s; data.from_path='%s'", found.proposed.said, found.proposed.pattern)
        log.info("the page: %s", file)


def record(found: Survey, run: TrackedRun) -> None:
    """The figures and tables that others can go on with."""
    run.log_inputs(dataset_of(found.table))
    write_csv(class_counts(found.table), run.folder / "classes.csv", index=True)
    write_csv(found.leaks, run.folder / "leaks.csv")
    if found.resembling is not None:
        write_csv(found.resembling, run.folder / "resembling.csv")
    write_csv(unreadable(found.table, found.facts), run.folder / "unreadable.csv")
    told = figures(found.table, found.facts, found.alike, found.leaks)
    run.log_metrics({f"data/{name}": value for name, value in told.items()})
