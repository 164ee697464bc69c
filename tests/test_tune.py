"""A search as its user types it, on the digits with features of a network that knows nothing."""

import sys
from time import time

import numpy as np
import pandas as pd
import pytest
from mlflow import artifacts

from pipeline.experiment.budget import Budget
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.selection import find_experiment, trained_runs

TINY = (
    "model=squeezenet", "regime=scratch", "data.image_size=32", "data.per_class=4", "data.classes=3",
    "trainer.precision=fp32", "trainer.threads=1", "trainer.epochs=2", "trainer.limit_batches=1",
)  # fmt: skip


def runs_of(store):
    (experiment,) = [one for one in store.search_experiments() if one.name == "digits"]
    runs = store.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["stage"] == "sweep"]
    return parent, [run for run in runs if run is not parent]


def test_a_search_trains_confirms_and_says_what_mattered_and_is_done_when_typed_again(store, typed, capsys, tmp_path):
    search = ["tune", *TINY, "optimizer.lr=tag(log,interval(1e-4,1e-1))", "loss=cross_entropy,focal",
              "tune.trials=2", "tune.confirm=2"]  # fmt: skip
    assert typed(*search) == 0
    said = capsys.readouterr().out
    parent, jobs = runs_of(store)
    assert parent.info.status == "FINISHED"
    assert {job.info.status for job in jobs} == {"FINISHED"}
    assert {job.data.tags["mlflow.parentRunId"] for job in jobs} == {parent.info.run_id}
    confirming = [job for job in jobs if "confirms" in job.data.tags]
    assert sorted(job.data.params["seed"] for job in confirming) == ["1", "2"]
    table = pd.read_csv(
        artifacts.download_artifacts(f"runs:/{parent.info.run_id}/search/trials.csv", dst_path=tmp_path)
    )
    trials = [job for job in jobs if job not in confirming]
    assert sorted(table["run"]) == sorted(job.info.run_id for job in trials)
    best = max(job.data.metrics["best/val_accuracy"] for job in trials)
    assert table["value"].max() == pytest.approx(best)
    fresh = np.mean([job.data.metrics["best/val_accuracy"] for job in confirming])
    assert parent.data.metrics["search/flattered"] == pytest.approx(best - fresh)
    assert "2 fresh seeds of the same settings" in said
    assert typed(*search) == 0  # what is done is not done again
    assert [run.info.run_id for run in runs_of(store)[1]] == [job.info.run_id for job in jobs]
    experiment = find_experiment(store, None, "latest")
    assert {run.info.run_id for run in trained_runs(store, experiment, "latest")} == {job.info.run_id for job in jobs}


def test_what_falls_behind_is_ended_and_a_key_is_drawn_only_with_its_choice(store, typed, monkeypatch):
    monkeypatch.setattr("optuna.trial.Trial.should_prune", lambda trial: trial.number == 0)
    given = [*TINY, "optimizer=choice(sgd,adam)"]
    assert (
        typed("tune", *given, "optimizer.momentum=interval(0.1,0.9)", "tune.trials=2", "tune.confirm=0", "tune.seed=2")
        == 0
    )
    _, jobs = runs_of(store)
    pruned = [job for job in jobs if "pruned" in job.data.tags]
    assert [job.info.status for job in pruned] == ["KILLED"]
    assert "ended after epoch 1 of 2" in pruned[0].data.tags["pruned"]
    assert len(jobs) == 2
    for job in jobs:  # a key that hangs on a choice
        assert ("momentum" in job.data.tags["overrides"]) == ("sgd" in job.data.tags["overrides"])


def test_without_optuna_the_extra_is_named(store, typed, monkeypatch, capsys):
    for module in ("tracking.study", "commands.searching", "commands.tune"):
        monkeypatch.delitem(sys.modules, f"pipeline.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert typed("tune", "seed=0,1") == 2
    assert "pip install -e '.[tune]'" in capsys.readouterr().err


def test_jobs_that_would_not_end_within_the_budget_are_left_out(store, typed, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.experiment.budget.begun", lambda *_: Budget(until=time() + 60, expected=61))
    assert typed("train", "-m", *TINY, "seed=0,1", "trainer.time_budget=60s") == 1
    assert "left out for want of time: 2 jobs; the same command goes on with them" in capsys.readouterr().out
    assert runs_of(store)[1] == []  # and none is taken for one that failed


def test_confirming_stops_within_the_budget_too(store, typed, monkeypatch, capsys):
    rooms = iter([True, True, False, True, False])  # at the start, one trial, no other; one seed, no other
    asked = []

    def has_room(_budget, _took, trainings=1):
        asked.append(trainings)
        return next(rooms)

    monkeypatch.setattr("pipeline.experiment.budget.Budget.has_room", has_room)
    assert typed("tune", *TINY, "seed=0,1,2", "tune.confirm=2", "trainer.time_budget=1h") == 0
    said = capsys.readouterr().out
    assert "the best is confirmed by 1 of 2 seeds" in said
    assert "what mattered:" not in said  # of one trial nobody can tell
    assert asked == [1, 1, 2, 1, 1]  # after one trial, room for another and for one seed
    search, found = runs_of(store)
    assert len(found) == 2
    page = (artifact_folder(search, "search") / "search.html").read_text(encoding="utf-8")
    assert "trainer.time_budget" not in page  # which a training alone does not take


def test_a_budget_is_of_several_trainings(store, typed, capsys):
    assert typed("train", "trainer.time_budget=2h") == 2
    assert "of one training set trainer.epochs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["seed=0"], "there is nothing to search"),
        (["optimizer.lrr=interval(0.1,0.2)"], "unknown key optimizer.lrr; did you mean optimizer.lr?"),
        (["optimizer.lr=intervall(0.1,0.2)"], "intervall"),
        (["optimizer.lr=interval(-1,0.2)"], "optimizer.lr=-1"),
        (["seed=0,1", "tune.objective=best/val_acuracy"], "no run logs that; did you mean best/val_accuracy?"),
        (["seed=0,1", "tune.objective=test/accuracy"], "test decides nothing"),
        (["seed=0,1", *TINY, "tune.objective=best/val_top5_accuracy"], "of 3 classes no run logs that"),
        (["seed=0,1", *TINY, "trainer.time_budget=0.01s"], "is shorter than one training"),
        (["seed=0,1", "trainer.time_budget=2"], "a time with its unit"),
        (["seed=0,1", "-m"], "a search is typed without it"),
        (["seed=0,1", "optimizer.lr=interval(0.1,0.2)", "tune.sampler=grid"], "optimizer.lr: an interval has values"),
        (
            ["head=choice(linear,logistic)", "regime=choice(scratch,frozen)"],
            "head=logistic regime=scratch: head=logistic",
        ),
    ],
)
def test_bad_input_stops_before_any_work(given, said, store, typed, capsys):
    assert typed("tune", *given) == 2
    assert said in capsys.readouterr().err
    assert [one.name for one in store.search_experiments()] == ["Default"]
