"""Look at the pictures before training:   python -m pipeline.explore data=folder data.root=~/photos"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.progress import watch
from pipeline.common.wording import counted, first_few
from pipeline.config import schema
from pipeline.data.digest import class_counts, data_digest
from pipeline.data.files import write_csv
from pipeline.data.reading.augmentation import build_augmentation
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.split_files import keep_split
from pipeline.data.splits import too_small_classes
from pipeline.data.survey.measure import Parts, augmented_views, collect, jpegs, thumbnails
from pipeline.data.survey.outliers import outliers
from pipeline.data.survey.statistics import channel_statistics, copies, leaking, sample, without_leaks
from pipeline.data.table import SPLITS, PictureTable
from pipeline.experiment import build
from pipeline.reporting.page import save
from pipeline.reporting.survey_page import Survey, survey_page
from pipeline.reporting.survey_pictures import MOST_PAIRS
from pipeline.tracking.runs import TrackedRun, flatten, git_sha, log_dataset, tracked_run
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.explore")
_AUGMENTED, _VIEWS = 3, 6  # pictures, and how often each is changed


def run(config: schema.Explore) -> None:
    """Open every picture, say what was found; one run in MLflow and one page to read."""
    store, data = Store(), refusing_nothing(config.data)
    given = build.all_pictures(data)
    table = build.picture_table(data, build.split_pictures(data, given))
    store.open()
    params = flatten(config.model_dump(mode="json", include={"data", "explore"}))
    with tracked_run(
        config.tracking.experiment, name=config.tracking.run_name, tags=tags(config, table), params=params
    ) as run:
        log.info("%s: %s of %s", table.name, counted(len(table.rows), "picture"), counted(len(table.classes), "class"))
        found = look(config, table, given)
        found = replace(found, mended=mended_split(found, run))
        record(found, run)
        file = save(survey_page(found), run.folder / "explore.html")
        conclude(found, str(file))


def refusing_nothing(data: schema.Data) -> schema.Data:
    """The same, but what training would stop at is left out or goes to train, so that it can be shown."""
    small = "train_only" if data.small_classes == "raise" else data.small_classes
    return data.model_copy(update={"on_unreadable": "skip", "small_classes": small})


def look(config: schema.Explore, table: PictureTable, given: PictureTable) -> Survey:
    """Open the pictures and compare them; `given` is the table before it was split."""
    how = Preprocessing(config.data.image_size, config.data.fit)
    rows = sample(table, config.explore.pictures)
    workers = build.workers(config.explore.num_workers, in_memory=table.in_memory)
    facts = collect(list(watch(Parts(table, rows, how, workers=workers), "open")))
    alike = copies(table, facts, config.explore.near)
    leaks, odd = leaking(table, alike), outliers(facts)
    readable = facts.loc[facts["problem"] == "", "row"].to_numpy()
    seen = leaks.head(MOST_PAIRS)
    in_pairs = table.rows_of([*seen["path"], *seen["other_path"]]).values()
    split = config.data.split
    return Survey(
        table, facts, alike, leaks,
        thumbnails(table, readable, config.explore.samples, config.data.fit),
        config.explore.near, config.data.image_size,
        tuple(name for name in SPLITS if len(given.where(name))),
        too_small_classes(given, val=split.val, test=split.test, group=split.group, folds=split.folds),
        odd,
        jpegs(table, [*in_pairs, *odd["row"]]),
        augmented(config, table, how, readable),
        (config.augmentation.name, config.augmentation.options),
    )  # fmt: skip


def augmented(
    config: schema.Explore, table: PictureTable, how: Preprocessing, readable: np.ndarray
) -> list[list[bytes]]:
    """Some pictures as training will see them, of different classes where there are several."""
    if config.augmentation.name == "none" or not len(readable):
        return []
    first = readable[np.unique(table.labels[readable], return_index=True)[1]]
    chosen = first[np.linspace(0, len(first) - 1, min(_AUGMENTED, len(first))).astype(int)]
    changes = build_augmentation(config.augmentation.name, how.image_size, **config.augmentation.options)
    return augmented_views(table, chosen, how, changes, views=_VIEWS)


def mended_split(found: Survey, run: TrackedRun) -> str:
    """Keep, where pictures are in two splits, the same split with all copies in train; gives the file as typed here.

    The page is made to be shared, so a file elsewhere is named by its place among the run's artifacts.
    """
    if not (found.leaks["leak"] != "label").any():
        return ""
    folder = run.folder / "without_leaks"
    folder.mkdir(exist_ok=True)
    file = keep_split(without_leaks(found.table, found.alike), folder).resolve()
    base = next(one for one in (Path.cwd().resolve(), run.folder.resolve()) if file.is_relative_to(one))
    return str(file.relative_to(base))


def record(found: Survey, run: TrackedRun) -> None:
    """The figures and tables that others can go on with."""
    log_dataset(found.table)
    write_csv(class_counts(found.table), run.folder / "classes.csv", index=True)
    write_csv(found.leaks, run.folder / "leaks.csv")
    write_csv(problems(found), run.folder / "unreadable.csv")
    exact = found.alike["kind"] == "exact"
    figures = {
        "pictures": len(found.table.rows),
        "classes": len(found.table.classes),
        "opened": len(found.facts),
        "unreadable": len(problems(found)),
        "odd": (found.facts["odd"] != "").sum(),
        "exact_copies": exact.sum(),
        "near_copies": (~exact).sum(),
        "leaks": len(found.leaks),
    }
    if found.table.unlisted is not None:
        figures["unlisted"] = found.table.unlisted
    for channel, row in channel_statistics(found.facts).dropna().iterrows():  # of none that can be read there is none
        figures |= {f"mean_{channel}": row["mean"], f"std_{channel}": row["std"]}
    run.log_metrics({f"data/{name}": float(value) for name, value in figures.items()})


def problems(found: Survey) -> pd.DataFrame:
    """What cannot be read, and why."""
    broken = found.facts[found.facts["problem"] != ""]
    paths = found.table.rows["path"].to_numpy()[broken["row"]]
    return broken.assign(path=paths)[["path", "problem"]]


def tags(config: schema.Explore, table: PictureTable) -> dict[str, str]:
    """What the run is found by."""
    return {
        "stage": "explore", "data": config.data.name, "git_sha": git_sha(), "data_digest": data_digest(table),
        **config.tracking.tags,
    }  # fmt: skip


def conclude(found: Survey, file: str) -> None:
    """What needs a person's eye, and where to look."""
    if found.too_small:
        log.warning("warning: classes with too few pictures to be in every split: %s", first_few(found.too_small))
    for path, why in list(found.table.skipped.items())[:1]:
        verb = "is" if len(found.table.skipped) == 1 else "are"
        log.warning("warning: %s %s left out: %s %s", counted(len(found.table.skipped), "picture"), verb, path, why)
    broken = problems(found)
    if len(broken):
        first = broken.iloc[0]
        many = counted(len(broken), "picture")
        log.warning("warning: %s cannot be read: %s %s", many, first["path"], first["problem"])
    # One picture under two labels is a fault of the labels; only what is in two splits is a leak.
    leaks = found.leaks["leak"] != "label"
    for some, what in ((found.leaks[leaks], "leak"), (found.leaks[~leaks], "label conflict")):
        if len(some):
            first = some.iloc[0]
            log.warning(
                "warning: %s: %s (%s, %s) is %s (%s, %s)", counted(len(some), what), first["path"], first["split"],
                first["label"], first["other_path"], first["other_split"], first["other_label"],
            )  # fmt: skip
    log.info("the page: %s", file)
