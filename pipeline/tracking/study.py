"""A search in Optuna: its trials, shared out among processes; what a dead one left is made up for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.tracking.liveness import PROCESS, is_alive, own_process
from pipeline.tracking.selection import lower_is_better
from pipeline.tracking.store import database, is_here
from pipeline.tracking.twins import claimed

try:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError:
    raise BadInput("python -m pipeline.tune needs Optuna: pip install -e '.[tune]'") from None

__all__ = ["LEFT_OUT", "RUN", "Study", "Trial", "TrialState", "importances", "sampler"]

RUN, LEFT_OUT = "run", "left_out"  # of a trial: its run in MLflow; why it counts for nothing
_FRESH = 60  # seconds in which a trial that was just begun elsewhere may not have said by whom
_SCHEMA = "optuna"

_STARTUP = 10  # trials that nothing is compared with, as TPE draws so many by chance
_PRUNERS: dict[str, Callable[[int], Any]] = {
    # Of the first epoch alone it would end most: only those that were let live make the median.
    "median": lambda epochs: optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=-(-epochs // 3)),
    "halving": lambda _: optuna.pruners.SuccessiveHalvingPruner(),
    "hyperband": lambda _: optuna.pruners.HyperbandPruner(),
    "none": lambda _: optuna.pruners.NopPruner(),
}
_SAMPLERS: dict[str, Callable[..., Any]] = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "grid": optuna.samplers.RandomSampler,  # which draws nothing: all trials wait from the start
}


class Study:
    """A search that processes share, known by its name; `how` it draws trials, and ends those of so many `epochs`."""

    def __init__(self, name: str, experiment_id: str, how: schema.Search, epochs: int = 1) -> None:
        self.name, self.how, self._experiment_id = name, how, experiment_id
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with claimed("", "optuna"):  # two that make one database's tables at once break it
            self.storage = _storage(mlflow.get_tracking_uri())
            self.optuna = optuna.create_study(
                storage=self.storage, study_name=name, load_if_exists=True, pruner=_PRUNERS[how.pruner](epochs),
                direction="minimize" if lower_is_better(how.objective) else "maximize",
            )  # fmt: skip

    @property
    def address(self) -> str:
        """Where optuna-dashboard finds it."""
        return self.storage.engine.url.render_as_string(hide_password=True)

    def next_trial(self) -> Trial | None:
        """One to run now, this process's own; None where none is left to begin."""
        with claimed(self._experiment_id, self.name):
            self._make_up_for_the_dead()
            counted = self.counted()
            if len(counted) >= self.how.trials and not any(one.state == TrialState.WAITING for one in counted):
                return None
            trial = self.optuna.ask()
            for key, value in own_process().items():
                trial.set_user_attr(key, value)
        self.optuna.sampler = sampler(self.how.sampler, self.how.seed, trial.number)
        if self.place(trial) > self.how.trials:  # another machine was faster
            self.leave_out(trial.number, "there were enough")
            return None
        return trial

    def wait_for(self, settings: Sequence[Mapping[str, Any]]) -> None:
        """Let the trials be these, in an order by chance, unless a process has begun the search already."""
        with claimed(self._experiment_id, self.name):
            if not self.optuna.get_trials(deepcopy=False):
                for place in np.random.default_rng(self.how.seed).permutation(len(settings)):
                    self.optuna.enqueue_trial(dict(settings[place]))

    def counted(self) -> list[FrozenTrial]:
        """The trials that make up the search, in their order: begun, ended, or waiting to be taken up again."""
        return [one for one in self.optuna.get_trials(deepcopy=False) if LEFT_OUT not in one.user_attrs]

    def place(self, trial: Trial) -> int:
        """The how-manieth a trial is of those that count: from 1, without those that were broken off."""
        return 1 + [one.number for one in self.counted()].index(trial.number)

    def under_way(self, *, waiting: bool = True) -> bool:
        """Whether a trial is begun, or waits to be taken up again; if not `waiting`, whether a process lives that is at
        one.
        """
        left = [one for one in self.counted() if not one.state.is_finished()]
        return bool(left) if waiting else any(one.state == TrialState.RUNNING and _lives(one) for one in left)

    def leave_out(self, number: int, why: str) -> bool:
        """End a trial that is to count for nothing; False where another process has ended it."""
        (trial,) = (one for one in self.optuna.get_trials(deepcopy=False) if one.number == number)
        try:
            self.storage.set_trial_user_attr(trial._trial_id, LEFT_OUT, why)
            self.optuna.tell(number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return False
        return True

    def take_up_again(self, trial: FrozenTrial, why: str) -> None:
        """End a trial that was broken off; the next process that asks for one gets its settings."""
        if self.leave_out(trial.number, why):
            self.optuna.enqueue_trial(trial.params)

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as it is stored."""
        return self.optuna.get_trials(deepcopy=False)[number]

    def best(self) -> FrozenTrial | None:
        """The best that came to its end."""
        done = [one for one in self.counted() if one.state == TrialState.COMPLETE and one.value is not None]
        sign = 1 if lower_is_better(self.how.objective) else -1
        return min(done, key=lambda one: sign * (one.value or 0), default=None)

    def _make_up_for_the_dead(self) -> None:
        for trial in self.counted():
            if trial.state == TrialState.RUNNING and not _lives(trial):
                self.take_up_again(trial, "its process was ended")


def sampler(kind: str, seed: int, number: int) -> Any:
    """What draws a trial: it hangs on the trial's number, whichever process has it."""
    return _SAMPLERS[kind](seed=(7919 * seed + number) % 2**32)


def _lives(trial: FrozenTrial) -> bool:
    if PROCESS not in trial.user_attrs:
        began = trial.datetime_start
        return began is not None and (datetime.now() - began).total_seconds() < _FRESH
    return is_alive(trial.user_attrs)


def importances(study: Study) -> dict[str, float]:
    """How much of the objective's variance each key accounts for (shares of one); nothing where that cannot be told.

    Hutter, Hoos and Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance" (fANOVA).
    """
    if sum(one.value is not None for one in study.counted()) < 2:  # Optuna gives one trial's first key all of it
        return {}
    try:
        return optuna.importance.get_param_importances(
            study.optuna, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    except (ValueError, RuntimeError):  # too few trials, or all the same
        return {}


def _storage(uri: str) -> Any:
    """Optuna's tables: in a PostgreSQL store in a schema of their own, else in `optuna.db` beside the store.

    MLflow and Optuna each keep the version of their tables in one that is called `alembic_version`.
    """
    if uri.startswith("postgres"):
        own = {"pool_events": [(_in_own_schema, "connect")], "pool_pre_ping": True}
        return optuna.storages.RDBStorage(uri, engine_kwargs=own)
    file = (database(uri).resolve().parent if is_here(uri) else Path.cwd()) / "optuna.db"
    return optuna.storages.RDBStorage(f"sqlite:///{file}")


def _in_own_schema(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
    cursor.execute(f"SET search_path TO {_SCHEMA}")
    connection.commit()
