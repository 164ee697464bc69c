"""The trials of a search: drawn, trained, told of; the best confirmed with fresh seeds."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from itertools import count, islice
from time import sleep
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.cli.messages import tell
from pipeline.cli.quoting import as_typed
from pipeline.cli.space import Searched, Space
from pipeline.cli.sweep import SweepCallback, note_failure
from pipeline.cli.trials import Trainings
from pipeline.commands import train
from pipeline.common.atomic import scratch_folder
from pipeline.common.errors import BadInput, Pruned, did_you_mean
from pipeline.common.interruption import heed
from pipeline.common.names import PARENT_VARIABLE, SWEPT_VARIABLE
from pipeline.config import schema
from pipeline.experiment.budget import Budget
from pipeline.experiment.stages import stages
from pipeline.experiment.training_run import Heard
from pipeline.reporting.search_page import Confirmed, Found, write_search
from pipeline.tracking.liveness import Heartbeat
from pipeline.tracking.selection import FINISHED, job_key, lower_is_better, members
from pipeline.tracking.study import RUN, Study, Trial, TrialState, importances
from pipeline.tracking.twins import claimed

_WAIT = 1.0  # seconds between looks at what other processes are at
_SETTINGS = "overrides"  # of a trial: what it drew

log = logging.getLogger("pipeline.tune")


@dataclass
class Search:
    """A search under its parent run, to be over within the `budget`, if there is one."""

    config: schema.Tune
    study: Study
    trainings: Trainings
    space: Space
    budget: Budget | None

    def run(self) -> None:
        """All of it; other processes with the same command do their share. Exit code 1 where a trial failed."""
        self.lower = lower_is_better(self.config.tune.objective)
        varied = [as_typed(one) for one in self.config.tune.space]
        given = self.trainings.typed(self.config.tune.space)
        sweep = SweepCallback()
        anew = self.config.resume == "never"
        sweep.begin(self.config.tracking.experiment, given, varied, anew=anew, study=self.study.name)
        self.parent = str(sweep.parent)
        os.environ[SWEPT_VARIABLE] += ",seed"  # which tells those apart that confirm
        try:
            self._trials()
            with claimed(self.study.name, "confirmed"):  # by one process; the others then find that done
                if best := self.study.best():
                    settings = list(best.user_attrs[_SETTINGS])
                    self._report(settings, self._confirm(settings, float(best.value or 0)))
                sweep.close("")
        finally:
            os.environ.pop(PARENT_VARIABLE, None)  # what goes wrong from here on is no job's

    def _trials(self) -> None:
        while not self._is_over():
            trial = self.study.next_trial()
            if trial is not None:
                self._one(trial)
            elif self.study.under_way():  # and may be broken off
                sleep(_WAIT)
            else:
                return
        while self.study.under_way(waiting=False):
            sleep(_WAIT)

    def _is_over(self) -> bool:
        """Whether another training, and those that confirm the best, would not end within the budget.

        For these no more is kept than the trials had, as there is little to confirm where hardly anything was tried.
        """
        took = self._took()
        if over := not self._has_room(1 + min(self.config.tune.confirm, len(took))):
            log.info("trainer.time_budget: no further trial would end within it; there were %d", len(took))
        return over

    def _has_room(self, trainings: int) -> bool:
        return self.budget is None or self.budget.has_room(self._took(), trainings)

    def _took(self) -> list[float]:
        """Seconds of each trial that came to its end."""
        return [one.duration.total_seconds() for one in self.study.counted() if one.duration and one.value is not None]

    def _one(self, trial: Trial) -> None:
        """A trial, told of in the study whatever becomes of it."""
        settings = self.space.draw(lambda one: _suggest(trial, one))
        trial.set_user_attr(_SETTINGS, settings)
        study, objective, place = self.study, self.config.tune.objective, self.study.place(trial)
        log.info("trial %d of %d: %s", place, self.config.tune.trials, " ".join(map(as_typed, settings)))
        try:
            with Heartbeat("", trial.set_user_attr):
                run = self._train(settings, self._heard(trial, settings))
        except Pruned as error:
            log.info("trial %d: %s", place, error)
            study.optuna.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            return
        except BaseException:
            study.take_up_again(study.frozen(trial.number), "its process was ended")
            raise
        if run is None:
            study.optuna.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        elif run.info.status != FINISHED:  # the same training is under way in another process, whose trial has it
            study.leave_out(trial.number, f"run {run.info.run_id} is the same")
            sleep(_WAIT)
        else:
            trial.set_user_attr(RUN, run.info.run_id)
            study.optuna.tell(trial, self._figure(run, trial), skip_if_finished=True)
            best = study.best()
            log.info("trial %d: %s %.4f%s", place, objective, run.data.metrics[objective],
                     f" (best so far {best.value:.4f})" if best else "")  # fmt: skip

    def _figure(self, run: Run, trial: Trial) -> float:
        objective = self.config.tune.objective
        if objective not in run.data.metrics:
            self.study.optuna.tell(trial, state=TrialState.FAIL)
            known = [one for one in run.data.metrics if one.startswith("best/val_")]
            raise BadInput(f"tune.objective={objective}: no run here logs that{did_you_mean(objective, known)}")
        return float(run.data.metrics[objective])

    def _train(self, settings: list[str], heard: Heard | None = None) -> Run | None:
        """Train, or find that done. Gives the run; None where the training failed, which is told of."""
        with self.trainings.entered(settings) as config:
            try:
                train.run(config, heard)
            except Pruned:
                raise
            except Exception as error:
                heed()  # who was asked to end may have lost its helpers first
                tell(error, "train")
                note_failure(error)
                return None
        key = job_key(self.trainings.line(settings))
        jobs = members(MlflowClient(), self.parent)
        return next((job for job in jobs if job_key(job.data.tags.get("overrides", "")) == key), None)

    def _heard(self, trial: Trial, settings: list[str]) -> Heard:
        last = sum(stage.epochs for stage in stages(self.trainings.config(settings)))
        metric = "val/loss" if self.lower else "val/accuracy"

        def heard(figures: Any, epoch: int) -> None:
            trial.report(figures[metric], epoch)
            if epoch < last and trial.should_prune():
                raise Pruned(f"ended after epoch {epoch} of {last}, as {metric} {figures[metric]:.4f} fell behind")

        return heard

    def _confirm(self, settings: list[str], best: float) -> Confirmed | None:
        """The best settings once more with seeds that no trial had."""
        tried = {int(one.params.get("seed", self.config.seed)) for one in self.study.counted()}
        plain = [one for one in settings if not one.startswith("seed=")]
        found = list[float]()
        for seed in islice(count(max(tried) + 1), self.config.tune.confirm):
            if not self._has_room(1):
                log.info("trainer.time_budget: the best is confirmed by %d of %d seeds; the same command goes on",
                         len(found), self.config.tune.confirm)  # fmt: skip
                break
            log.info("confirming the best: seed=%d", seed)
            run = self._train([*plain, f"seed={seed}"])
            if run is not None and self.config.tune.objective in run.data.metrics:
                MlflowClient().set_tag(run.info.run_id, "confirms", self.study.name)
                found.append(float(run.data.metrics[self.config.tune.objective]))
        return Confirmed(best, found, self.lower) if found else None

    def _report(self, settings: list[str], confirmed: Confirmed | None) -> None:
        """The page and its tables, on the parent; the figures, as its metrics and in the terminal."""
        searched, client = self.space.searched, MlflowClient()
        shares = importances(self.study)
        best = [one for one in self.trainings.typed(settings) if not one.startswith("trainer.time_budget=")]
        found = Found(
            self.config.tune.objective, self.lower, self._table(), [one.key for one in searched],
            {one.key for one in searched if one.log}, shares, best, confirmed,
            [f"Study {self.study.name} in {self.study.address}."],
        )  # fmt: skip
        with scratch_folder() as scratch:
            write_search(scratch, found)
            client.log_artifacts(self.parent, str(scratch), "search")
        if shares:
            log.info("what mattered: %s", ", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
        log.info("best settings: %s", " ".join(map(as_typed, settings)))
        if confirmed:
            log.info("%s", confirmed.told())
            client.log_metric(self.parent, "search/best", confirmed.best)
            client.log_metric(self.parent, "search/confirmed", confirmed.mean)
            client.log_metric(self.parent, "search/flattered", confirmed.flattered)
        log.info("in MLflow: the search's run, under search/")

    def _table(self) -> pd.DataFrame:
        keys = [one.key for one in self.space.searched]
        rows = [
            {
                "trial": place, "state": one.state.name.lower(), "value": one.value,
                **{key: one.params.get(key) for key in keys},
                "minutes": one.duration.total_seconds() / 60 if one.duration else None,
                "run": one.user_attrs.get(RUN, ""),
            }
            for place, one in enumerate(self.study.counted(), start=1)
        ]  # fmt: skip
        return pd.DataFrame(rows)


def _suggest(trial: Trial, one: Searched) -> Any:
    if one.choices:
        return trial.suggest_categorical(one.key, one.choices)
    if isinstance(one.low, int) and isinstance(one.high, int):
        return trial.suggest_int(one.key, one.low, one.high, step=int(one.step or 1), log=one.log)
    step = None if one.step is None else float(one.step)
    return trial.suggest_float(one.key, float(one.low), float(one.high), step=step, log=one.log)
