"""A training as a run in MLflow, new or gone on with: what is logged, and when."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Run

from pipeline.common.errors import Pruned
from pipeline.config import schema
from pipeline.config.defaults import flatten
from pipeline.data.remaining import check_what_is_left
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.earlier import tell_going_on
from pipeline.experiment.records import (
    announce,
    conclude,
    describe,
    log_inputs,
    logged_epochs,
    make_up_for_metrics,
    run_tags,
)
from pipeline.experiment.training import train
from pipeline.reporting.run_report import Draw
from pipeline.tracking.places import home
from pipeline.tracking.runs import TrackedRun, tracked_run
from pipeline.training.checkpoints import drop_state, has_state
from pipeline.training.loop import Epoch, NothingRead, Progress

log = logging.getLogger("pipeline.train")


@contextmanager
def tracked(
    config: schema.Train, prepared: Prepared, identity: Mapping[str, str], earlier: Run | None, *,
    name: str | None, typed: Sequence[str],
) -> Iterator[TrackedRun]:  # fmt: skip
    """The run in MLflow; an `earlier` one goes on with the parameters and tags that it began with.

    One that saved no state may have been killed before its parameters were logged, or in the midst of that.
    """
    params, tags = flatten(config.model_dump(mode="json", exclude={"resume", "estimate"})), {}
    if earlier is None:
        tags = run_tags(config, prepared, identity, typed)
    else:
        tell_going_on(earlier, typed)
        known = params if has_state(home(earlier) / "checkpoints") else earlier.data.params
        params = {key: value for key, value in params.items() if key not in known}
    began = tracked_run(
        config.tracking.experiment, name=name, tags=tags, params=params,
        resume=None if earlier is None else earlier.info.run_id, required=config.tracking.required,
    )  # fmt: skip
    with (
        began as run,
        build.memory_in_one_line(config.trainer.batch_size),
        build.full_disk_in_one_line(run.folder, run.id),
    ):
        yield run


Heard = Callable[[Mapping[str, float], int], object]  # what hears of each epoch's figures, and may end the training


def trained(
    config: schema.Train, prepared: Prepared, run: TrackedRun, *, goes_on: bool, draw: Draw, heard: Heard | None = None
) -> float:
    """Train and score; gives the best val accuracy. What a run logged before it broke off is not logged again."""
    log_inputs(config, prepared, run, goes_on=goes_on)
    announce(config, prepared, run)
    checkpoints, progress = run.folder / "checkpoints", Progress()
    logged = logged_epochs(run) if goes_on else set()
    for number, epoch in enumerate(_epochs(config, prepared, checkpoints, progress)):
        if not number:  # by now every picture of train and val was opened
            check_what_is_left(prepared.table, "train", "val")
        if epoch.epoch not in logged:
            run.log_metrics(epoch.metrics(), step=epoch.epoch)
        log.info("%s", describe(epoch))
        if heard is not None:
            with _dropped_if_pruned(checkpoints):
                heard(epoch.metrics(), epoch.epoch)
    if goes_on:
        make_up_for_metrics(run, progress)
    best = conclude(config, prepared, run, progress, goes_on=goes_on, draw=draw)
    drop_state(checkpoints)
    return best


@contextmanager
def _dropped_if_pruned(checkpoints: Path) -> Iterator[None]:
    """Of what fell behind nothing is kept but its figures."""
    try:
        yield
    except Pruned:
        shutil.rmtree(checkpoints)
        raise


def _epochs(config: schema.Train, prepared: Prepared, checkpoints: Path, progress: Progress) -> Iterator[Epoch]:
    """Those of `train`. BadInput that names the class where not one picture could be read."""
    try:
        yield from train(config, prepared, checkpoints, progress)
    except NothingRead:
        check_what_is_left(prepared.table, "train", "val")
        raise
