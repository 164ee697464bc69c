"""Runs carried from one store to another: whole, with their bonds, and once."""

import shutil

import mlflow
import pytest
from stored import finished

from pipeline.models.saved import BEST_WEIGHTS
from pipeline.tracking.finished import stored_predictions
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.selection import find_run, members
from pipeline.tracking.store import Store
from pipeline.tracking.sweeps import close_sweep, open_sweep


@pytest.fixture
def laptop(_made_store, tmp_path):
    """The address of a second store, which is empty, and lies elsewhere."""
    (tmp_path / "laptop").mkdir()
    shutil.copy(_made_store, tmp_path / "laptop" / "mlflow.db")
    return f"sqlite:///{tmp_path / 'laptop' / 'mlflow.db'}"


@pytest.fixture
def cluster(store, tmp_path, monkeypatch):
    """A store with a sweep of two jobs, and an ensemble that names them."""
    parent = open_sweep("birds", ["seed=0,1"], ["seed=0,1"], ["seed=0", "seed=1"])
    jobs = [finished(seed=seed, tags={"overrides": f"seed={seed}"}) for seed in (0, 1)]
    with tracked_run("birds", name="weighed", tags={"data_digest": "d1", "model": "alexnet"}, params={}) as run:
        about = run.log_weights({2: BEST_WEIGHTS}, "birds")
        run.log_metrics({"best/val_accuracy": 0.9}, about=about[2])
    close_sweep(parent)
    with tracked_run("birds", name="vote", tags={"stage": "ensemble"}, params={"members": ",".join(jobs)}):
        pass
    monkeypatch.delenv("PIPELINE_SWEEP_RUN_ID", raising=False)
    return f"sqlite:///{tmp_path / 'mlflow.db'}", parent, jobs


def all_of(uri):
    client = mlflow.MlflowClient(uri)
    return client, client.search_runs([one.experiment_id for one in client.search_experiments()])


def test_runs_are_carried_with_all_that_is_known_of_them_once(cluster, laptop, typed, capsys):
    source, parent, jobs = cluster
    asked = (f"source={source}", f"target={laptop}")
    assert typed("sync", *asked) == 0
    assert "5 runs carried; 0 runs there before" in capsys.readouterr().out
    there, found = all_of(laptop)
    before = mlflow.MlflowClient(source)
    for run in found:
        was = before.get_run(run.data.tags["carried.from"])
        assert (run.info.run_name, run.info.status) == (was.info.run_name, was.info.status)
        assert (run.info.start_time, run.info.end_time) == (was.info.start_time, was.info.end_time)
        assert run.data.metrics == was.data.metrics
        for key in was.data.metrics:
            points = [
                [(one.value, one.timestamp, one.step) for one in client.get_metric_history(of, key)]
                for client, of in ((before, was.info.run_id), (there, run.info.run_id))
            ]
            assert points[0] == points[1]
    mlflow.set_tracking_uri(laptop)
    [job] = [run for run in found if run.data.tags["carried.from"] == jobs[0]]
    [above] = [run for run in found if run.data.tags["carried.from"] == parent]
    assert job.data.tags["mlflow.parentRunId"] == above.info.run_id
    assert {run.data.tags["carried.from"] for run in members(there, above.info.run_id)} >= set(jobs)
    assert job.data.params == before.get_run(jobs[0]).data.params
    assert stored_predictions(job, "test").labels.size == 90
    assert find_run(there, jobs[0]).info.run_id == job.info.run_id  # by the id that it had
    [vote] = [run for run in found if run.info.run_name == "vote"]
    assert job.info.run_id in vote.data.params["members"].split(",")
    [model] = there.search_logged_models([vote.info.experiment_id])
    assert model.tags["weights"] == f"runs:/{model.source_run_id}/checkpoints/{BEST_WEIGHTS}"
    assert [(point.key, point.value) for point in model.metrics] == [("best/val_accuracy", 0.9)]

    assert typed("sync", *asked) == 0
    assert "0 runs carried; 5 runs there before" in capsys.readouterr().out
    assert typed("sync", f"source={laptop}", f"target={source}") == 0
    assert "0 runs carried; 5 runs there before" in capsys.readouterr().out
    assert len(all_of(laptop)[1]) == len(all_of(source)[1]) == 5


def test_what_was_cut_short_is_gone_on_with(cluster, laptop, typed, monkeypatch):
    from pipeline.tracking.delivery import Delivery

    source, *_ = cluster
    really, taken = Delivery.take, []

    def take(self, record):
        taken.append(record)
        if len(taken) == 20:
            raise mlflow.exceptions.MlflowException("the disk is out of order")
        really(self, record)

    monkeypatch.setattr(Delivery, "take", take)
    assert typed("sync", f"source={source}", f"target={laptop}") == 1
    assert typed("sync", f"source={source}", f"target={laptop}") == 0
    assert sorted(run.info.status for run in all_of(laptop)[1]) == ["FINISHED"] * 5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("sqlite:///{here}/mlflow.db", "source and target are one store"),
        ("sqlite:///{here}/./mlflow.db", "source and target are one store"),
        ("sqlite:///{here}/none.db", "source=sqlite:///{here}/none.db: there is no such file"),
        ("{here}/mlruns", "source={here}/mlruns: MLflow keeps no runs in plain folders"),
        ("http://127.0.0.1:9", "source=http://127.0.0.1:9: no MLflow server answers there"),
    ],
)
@pytest.mark.usefixtures("store")
def test_stores_that_cannot_be_are_told_of(source, said, tmp_path, typed, capsys):
    assert typed("sync", f"source={source.format(here=tmp_path)}") == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"error: {said.format(here=tmp_path)}")
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "none.db").exists()


@pytest.mark.usefixtures("store")
def test_nothing_to_send_is_said(typed, capsys, monkeypatch):
    assert typed("sync") == 0
    assert "nothing waits here for sqlite:///" in capsys.readouterr().out
    Store().open()
