"""The time that a sweep or a search may take: whether one more training would end within it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import time

from pipeline.common.errors import BadInput
from pipeline.common.names import BUDGET_VARIABLE
from pipeline.common.wording import duration
from pipeline.config import schema
from pipeline.experiment.forecast import Forecast, foresee


@dataclass(frozen=True)
class Budget:
    """Until when (seconds since 1970), and how many seconds a training is expected to take before one has ended."""

    until: float
    expected: float

    def has_room(self, took: Sequence[float], trainings: int = 1) -> bool:
        """Whether so many would end within it, each taking as long as most of those that ended took (seconds)."""
        return time() + trainings * (median(took) if took else self.expected) <= self.until

    def hand_on(self) -> None:
        """To the jobs of a sweep, in whatever process."""
        os.environ[BUDGET_VARIABLE] = f"{self.until} {self.expected}"


def begun(config: schema.Train, typed: Sequence[str]) -> Budget | None:
    """The budget of a config, which begins now; None where it has none. BadInput where not one training fits in."""
    seconds = config.trainer.time_budget
    if seconds is None:
        return None
    until = time() + seconds
    each = total(foresee(config, "", typed, in_sweep=False))
    if each > seconds:
        raise BadInput(
            f"trainer.time_budget={duration(seconds / 60)} is shorter than one training, which takes about "
            f"{duration(each / 60)}; give more, or make trainings smaller (trainer.epochs, data.fraction)"
        )
    return Budget(until, each)


def handed_on() -> Budget | None:
    """That of the sweep which this job is of; None where it has none."""
    given = os.environ.get(BUDGET_VARIABLE, "").split()
    return Budget(float(given[0]), float(given[1])) if given else None


def total(one: Forecast) -> float:
    """Seconds of a training whose pictures nobody has asked its backbone about."""
    return one.seconds + sum(one.passes.values())
