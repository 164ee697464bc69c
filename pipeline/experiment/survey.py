"""What is found by looking at every picture before training."""

from pathlib import Path

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.progress import watch
from pipeline.config import schema
from pipeline.data.reading.augmentation import build_augmentation
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.split_files import keep_split
from pipeline.data.splits import too_small_classes
from pipeline.data.survey.measure import Parts, augmented_views, collect, jpegs, thumbnails
from pipeline.data.survey.names import proposal
from pipeline.data.survey.outliers import outliers
from pipeline.data.survey.statistics import copies, leaking, sample, without_leaks
from pipeline.data.table import SPLITS, PictureTable
from pipeline.experiment import build
from pipeline.experiment.resembling import resembling
from pipeline.predictions.feature_table import FeatureTable
from pipeline.reporting.survey_page import Survey
from pipeline.reporting.survey_pictures import MOST_PAIRS
from pipeline.tracking.runs import TrackedRun

_AUGMENTED, _VIEWS = 3, 6  # pictures, and how often each is changed


def refusing_nothing(data: schema.Data) -> schema.Data:
    """The same, but what training would stop at is left out or goes to train, so that it can be shown."""
    return build.taking_small_classes(data).model_copy(update={"on_unreadable": "skip"})


def look(
    config: schema.Explore, table: PictureTable, given: PictureTable, features: FeatureTable | None = None
) -> Survey:
    """Open the pictures and compare them, by a network's `features` too; `given` is the table before it was split."""
    data, options, augmentation = config.data, config.explore, config.augmentation
    how = Preprocessing(image_size(data), data.fit)
    workers = build.workers(options.num_workers, in_memory=table.in_memory)
    facts = collect(list(watch(Parts(table, sample(table, options.pictures), how, workers=workers), "open")))
    alike = copies(table, facts, options.near)
    leaks, odd = leaking(table, alike), outliers(facts)
    readable = facts.loc[facts["problem"] == "", "row"].to_numpy()
    resemble = resembling(features, table, options.near_cosine, alike) if features else None
    shown = pd.concat([pairs.head(MOST_PAIRS) for pairs in (leaks, resemble) if pairs is not None])
    in_pairs = table.rows_of([*shown["path"], *shown["other_path"]]).values()
    views = []
    if augmentation.name != "none":
        changes = build_augmentation(augmentation.name, how.image_size, **augmentation.options)
        views = augmented_views(table, readable, how, changes, most=_AUGMENTED, views=_VIEWS)
    split = data.split
    return Survey(
        table, facts, alike, leaks, thumbnails(table, readable, options.samples, data.fit), options.near,
        how.image_size,
        brought=tuple(name for name in SPLITS if len(given.where(name))),
        too_small=too_small_classes(given, val=split.val, test=split.test, group=split.group, folds=split.folds),
        odd=odd, jpegs=jpegs(table, [*in_pairs, *odd["row"]]), augmented=views,
        augmentation=(augmentation.name, augmentation.options), resembling=resemble,
        near_cosine=options.near_cosine, proposed=proposal(table),
    )  # fmt: skip


def image_size(data: schema.Data) -> int:
    """The side of the squares that are looked at. BadInput where it would be a network's to say."""
    if data.image_size == "auto":
        raise BadInput("data.image_size=auto is the size of a network, and here is none: give a number, such as 224")
    return data.image_size


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
