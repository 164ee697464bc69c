"""Train a network on labelled pictures:   python -m pipeline.train data=folder data.root=~/photos model=resnet50"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from mlflow.entities import Run

from pipeline.cli.quoting import typed_overrides
from pipeline.cli.sweep import drawing_beside, job_name, tell_progress
from pipeline.common.errors import BadInput
from pipeline.common.names import FORECASTS_VARIABLE, PARENT_VARIABLE
from pipeline.common.processes import rank_given
from pipeline.config import schema
from pipeline.experiment.backbones import with_its_size
from pipeline.experiment.budget import handed_on
from pipeline.experiment.earlier import config_of, earlier, is_done, take
from pipeline.experiment.follower import MODULE, follow
from pipeline.experiment.forecast import foresee
from pipeline.experiment.shared_work import hand_over
from pipeline.experiment.training import ground, prepare
from pipeline.experiment.training_run import Heard, tracked, trained
from pipeline.reporting.run_report import draw_figures
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.sending import check_room
from pipeline.tracking.store import Store
from pipeline.tracking.sweeps import note_best, seconds_taken
from pipeline.tracking.weights import drop_weights
from pipeline.training.ranks import Place, Ranks, place_of

log = logging.getLogger("pipeline.train")


def run(config: schema.Train, heard: Heard | None = None) -> float | None:
    """Prepare, train, score once with the best weights; all of it in MLflow. Gives what a sweep maximises.

    What is `heard` of each epoch is its figures and its number; whoever hears them may end the training.

    What the same command did before is not done again: a run that broke off goes on, a sweep's finished job is taken.
    """
    typed, given = typed_overrides(), config
    check_budget(config)
    if rank_given():
        if not config.estimate:
            follow(place_of(config.trainer), config)
        return None
    if config.estimate:
        foretell(config, typed)
        return None
    store, own = Store(required=config.tracking.required or names_a_run(config)), None
    in_sweep = PARENT_VARIABLE in os.environ
    if in_sweep or names_a_run(config):
        store.open()
    if config.resume not in ("auto", "never"):
        config, own = config_of(config.resume, config, typed)
    config, place = placed(with_its_size(config))
    with ExitStack() as until_the_end:
        ranks = until_the_end.enter_context(Ranks(place)) if place.world > 1 else None
        base = ground(config, own, typed)
        identity = base.identity(config)
        if in_sweep and (done := store.ask(lambda: done_before(config, identity))):  # before the network is built
            return take(done, typed, drawing_beside() or draw_figures)
        if in_sweep and (budget := handed_on()) and not budget.has_room(seconds_taken()):
            log.info("left out, as it would not end within trainer.time_budget: %s", job_name(typed))
            return None
        if ranks:
            ranks.start(MODULE)  # beside what follows
        prepared = replace(prepare(config, base), ranks=ranks)
        store.open()
        if store.stands_in:
            check_room(config.tracking.unsent_gb)

        def begin() -> tuple[TrackedRun | Run, bool]:
            with earlier(config, identity) as found:
                if found and is_done(found):
                    return found, True
                begun = tracked(config, prepared, identity, found, name=run_name(config), typed=typed)
                return until_the_end.enter_context(begun), found is not None

        run, goes_on = store.ask(begin)
        if isinstance(run, Run):
            return take(run, typed, drawing_beside() or draw_figures)
        draw = drawing_beside() if run.in_place else None  # files that are sent must be there first
        with ranks.lost_in_one_line() if ranks else nullcontext():
            hand_over(given, config, prepared, identity["data_digest"])
            best = trained(config, prepared, run, goes_on=goes_on, draw=draw or draw_figures, heard=heard)
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)
    if run.arrived:
        beaten, keep = note_best(run.id, best), config.tracking.keep_weights
        if unneeded := run.id if keep == "none" else beaten if keep == "best" else None:
            drop_weights(unneeded)
        tell_progress()
    return best


def check_budget(config: schema.Train) -> None:
    """BadInput for one of a single training."""
    if config.trainer.time_budget and not {PARENT_VARIABLE, FORECASTS_VARIABLE} & os.environ.keys():
        raise BadInput("trainer.time_budget is of a sweep (-m) or a search; of one training set trainer.epochs")


def placed(config: schema.Train) -> tuple[schema.Train, Place]:
    """The config with as many devices and machines as there are, and which of their processes this one is."""
    place = place_of(config.trainer)
    trainer = config.trainer.model_copy(update={"devices": place.devices, "nodes": place.nodes})
    return config.model_copy(update={"trainer": trainer}), place


def foretell(config: schema.Train, typed: list[str]) -> None:
    """Say what a training will take, and no more."""
    folder = os.environ.get(FORECASTS_VARIABLE)
    found = foresee(config, job_name(typed), typed, in_sweep=folder is not None)
    log.info("%s", found.told())
    if folder:
        found.write(Path(folder))


def done_before(config: schema.Train, identity: Mapping[str, str]) -> Run | None:
    """The run that did this training, or is at it."""
    with earlier(config, identity) as found:
        return found if is_done(found) else None


def names_a_run(config: schema.Train) -> bool:
    """Whether something in MLflow is needed before the run can be made."""
    named = (config.model.weights_file or "").startswith(("runs:/", "models:/"))
    return named or config.resume not in ("auto", "never")


def run_name(config: schema.Train) -> str | None:
    """The name asked for; in a sweep, what sets the job apart; else MLflow invents one."""
    if config.tracking.run_name or PARENT_VARIABLE not in os.environ or not HydraConfig.initialized():
        return config.tracking.run_name
    return job_name(typed_overrides()) or None
