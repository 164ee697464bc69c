"""Search for the best settings:   python -m pipeline.tune 'optimizer.lr=tag(log,interval(1e-4,1e-1))' tune.trials=30"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from uuid import uuid4

from pipeline.cli.quoting import as_typed
from pipeline.cli.space import Space, Value, read_space
from pipeline.cli.trials import Trainings
from pipeline.commands.searching import Search
from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import counted, duration
from pipeline.config import schema
from pipeline.evaluation.metrics import FIGURES, TOP5_FROM
from pipeline.experiment.backbones import with_its_size
from pipeline.experiment.budget import begun, total
from pipeline.experiment.forecast import foresee
from pipeline.experiment.stages import check_fitted
from pipeline.experiment.training import Ground, ground
from pipeline.tracking.selection import job_key
from pipeline.tracking.store import Store, experiment_id
from pipeline.tracking.study import Study

log = logging.getLogger("pipeline.tune")


def run(config: schema.Tune) -> None:
    """Draw, train, tell, until there are enough trials or time is up; then confirm the best and say what mattered."""
    check_objective(config.tune.objective)
    trainings = Trainings()
    space = Space(read_space(config.tune.space, trainings.loader), trainings.is_group, trainings.belongs)
    grid = space.grid() if config.tune.sampler == "grid" else None
    if grid:
        config = config.model_copy(update={"tune": config.tune.model_copy(update={"trials": len(grid)})})
    samples = checked(space, trainings, grid)
    first, base = with_pictures(trainings, samples)
    if config.estimate:
        foretell(config, trainings, space, samples)
        return
    if config.tune.objective == "best/val_top5_accuracy" and len(base.table.classes) < TOP5_FROM:
        raise BadInput(f"tune.objective={config.tune.objective}: of {len(base.table.classes)} classes no run logs that")
    budget = begun(first, trainings.typed(samples[0]))
    Store(required=True).open()
    name = study_name(config, trainings, base.identity(first))
    study = Study(name, experiment_id(config.tracking.experiment), config.tune, config.trainer.epochs)
    if budget and not study.counted() and not budget.has_room([]):
        raise BadInput("trainer.time_budget: it is over before the first trial would end; give more")
    if grid:
        study.wait_for(grid)
    Search(config, study, trainings, space, budget).run()


def check_objective(objective: str) -> None:
    """BadInput for what no run logs."""
    known = [f"best/val_{name}" for name in FIGURES]
    if objective not in known:
        raise BadInput(f"tune.objective={objective}: no run logs that{did_you_mean(objective, known)}")


def checked(space: Space, trainings: Trainings, grid: Sequence[Mapping[str, Value]] | None) -> list[list[str]]:
    """Samples of what is searched, or all of it, each a config as it must be. BadInput that names the key at fault."""
    samples = space.samples() if grid is None else [space.drawn(given) for given in grid]
    drawn = [override for sample in samples for override in sample]
    for one in space.searched:
        if not any(override.startswith(f"{one.typed}=") for override in drawn):  # no choice has that key
            override = one.override(one.ends()[0])
            check_fitted(trainings.config([override]), [override])
    for sample in samples:
        trainings.config(sample)
    for chosen in dict.fromkeys(tuple(space.groups_of(sample)) for sample in samples):
        try:
            check_fitted(trainings.config(chosen), chosen)
        except BadInput as error:
            raise BadInput(f"{' '.join(chosen)}: {error}; or search these in two searches") from None
    return samples


def with_pictures(trainings: Trainings, samples: Sequence[list[str]]) -> tuple[schema.Train, Ground]:
    """The first sample that can be trained as far as its pictures say, and what it stands on; else BadInput."""
    problem: BadInput | None = None
    for sample in samples:
        try:
            config = with_its_size(trainings.config(sample))
            return config, ground(config, None, trainings.typed(sample))
        except BadInput as error:
            problem = problem or error
    raise problem or BadInput("there is nothing to search")


def study_name(config: schema.Tune, trainings: Trainings, identity: dict[str, str]) -> str:
    """What a search knows itself by: what is typed for all trainings, what is searched how, the pictures."""
    how = config.tune.model_dump(exclude={"space", "trials", "confirm"})
    said = [job_key(trainings.line([])), sorted(config.tune.space), how, identity]
    name = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    return f"{name}-{uuid4().hex[:8]}" if config.resume == "never" else name


def foretell(config: schema.Tune, trainings: Trainings, space: Space, samples: Sequence[list[str]]) -> None:
    """Say what a training of each combination of choices will take, and the search; no more."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for sample in samples:
        alike.setdefault(tuple(space.groups_of(sample)), sample)
    found = []
    for sample in alike.values():
        told = " ".join(map(as_typed, sample))
        found.append(foresee(trainings.config(sample), told, trainings.typed(sample), in_sweep=False))
        log.info("%s: %s", told, found[-1].told())
    each, search = sum(map(total, found)) / len(found), config.tune
    all_of_it = (search.trials + search.confirm) * each
    log.info(
        "forecast: about %s for %s and %d to confirm the best, if none is ended early", duration(all_of_it / 60),
        counted(search.trials, "trial"), search.confirm,
    )  # fmt: skip
    if (budget := config.trainer.time_budget) and budget < all_of_it:
        room = int(budget / each)
        fit = max(room - search.confirm, room // 2)
        log.info("trainer.time_budget=%s: about %s will fit", duration(budget / 60), counted(fit, "trial"))
