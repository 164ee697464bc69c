"""What was done of a training before: an earlier run of the same config and pictures, to go on with or to take."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.common.names import PARENT_VARIABLE
from pipeline.common.wording import percent
from pipeline.config import schema
from pipeline.experiment.own_pictures import OwnPictures, own_pictures
from pipeline.experiment.stored import unfinished_config
from pipeline.reporting.run_report import CONFUSION, Draw
from pipeline.tracking.finished import history, label, taxonomy_of
from pipeline.tracking.liveness import is_under_way
from pipeline.tracking.places import home, local_folder
from pipeline.tracking.runs import git_sha, run_experiment
from pipeline.tracking.selection import CHOOSE_BY, FINISHED, PRUNED, find_run
from pipeline.tracking.twins import claimed, finished, note_found, twins, under_way, unfinished
from pipeline.training.checkpoints import has_state

log = logging.getLogger("pipeline.train")


def config_of(run_id: str, given: schema.Train, typed: Sequence[str]) -> tuple[schema.Train, OwnPictures]:
    """The config and the pictures of a run that broke off. BadInput where they are no longer what they were."""
    run = find_run(MlflowClient(), run_id, f"resume={run_id}", ("train",))
    if is_under_way(run):
        raise BadInput(f"resume={run_id}: a process is still at that run; stop it first, or wait for its end")
    config = unfinished_config(run, given, typed)
    own = own_pictures(run, home(run), config.data)
    own.check_unchanged(f"resume={run_id}")
    if own.difference:
        log.info("%s", own.difference)
    return config, own


@contextmanager
def earlier(config: schema.Train, identity: Mapping[str, str]) -> Iterator[Run | None]:
    """The run to go on with, or (`is_done`) to take as it is; None where this training begins anew.

    While this lasts no other process of this machine begins the same training.
    """
    if config.resume == "never":
        yield None
    elif config.resume != "auto":
        yield find_run(MlflowClient(), config.resume, f"resume={config.resume}", ("train",))
    else:
        experiment = run_experiment(config.tracking.experiment)
        with claimed(experiment, *identity.values()):
            yield _twin(experiment, identity)


def _twin(experiment: str, identity: Mapping[str, str]) -> Run | None:
    found = twins(MlflowClient(), experiment, identity)
    if PARENT_VARIABLE in os.environ:
        return finished(found) or under_way(found) or unfinished(found)
    if other := under_way(found):
        log.info("run %s is the same training, and under way in another process; this one is beside it", label(other))
    return unfinished(found)


def is_done(run: Run | None) -> bool:
    """Whether nothing is left to do here: it is finished, or another process is at it."""
    return run is not None and (run.info.status == FINISHED or is_under_way(run))


def take(run: Run, typed: Sequence[str], draw: Draw) -> float | None:
    """Count an earlier run as this job of the sweep. Gives its best val accuracy, None where it is not through.

    Figures are drawn beside a sweep, which may have been killed before it came to this run's: `draw` has them drawn.
    """
    note_found(MlflowClient(), run, os.environ[PARENT_VARIABLE], shlex.join(typed))
    best: float | None = run.data.metrics.get(CHOOSE_BY)
    if run.info.status == FINISHED:
        _draw_missing(run, draw)
        log.info("found: run %s is this training, val accuracy %s", label(run), percent(best, 2))
    else:
        log.info("run %s is this training, and under way in another process", label(run))
    tell_other_code(run)
    return best


def _draw_missing(run: Run, draw: Draw) -> None:
    folder = local_folder(run.info.artifact_uri or "")
    if folder is None or (folder / CONFUSION).exists():
        return
    if splits := [split for split in ("test", "val") if (folder / "predictions" / f"{split}.parquet").is_file()]:
        draw(folder, splits[0], history(MlflowClient(), run), taxonomy_of(run))


def tell_going_on(run: Run, typed: Sequence[str]) -> None:
    """Say that a run goes on, which then is no failed one any more, and this job of a sweep."""
    client, folder = MlflowClient(), home(run) / "checkpoints"
    begins = "from the state it saved" if has_state(folder) else "from its beginning, as it had saved no state"
    log.info("run %s broke off: it goes on %s", label(run), begins)
    tell_other_code(run)
    for tag in {"error", PRUNED} & run.data.tags.keys():
        client.delete_tag(run.info.run_id, tag)
    if parent := os.environ.get(PARENT_VARIABLE):
        note_found(client, run, parent, shlex.join(typed))


def _short(sha: str) -> str:
    commit, dash, changed = sha.partition("-")
    return f"{commit[:12]}{dash}{changed}"


def tell_other_code(run: Run) -> None:
    """Warn where a run was made, or begun, by another version of this program."""
    now = git_sha()
    then = run.data.tags.get("git_sha", now)
    if then != now:
        log.warning(
            "warning: the program has changed since run %s began (%s then, %s now); resume=never trains anew",
            label(run), _short(then), _short(now),
        )  # fmt: skip
