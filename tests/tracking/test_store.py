import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import pytest

from pipeline.common.errors import BadInput
from pipeline.common.names import safe_name
from pipeline.tracking.store import Store, experiment_id, tracking_uri


def test_four_processes_that_start_at_once_on_a_fresh_folder_share_one_store(tmp_path):
    command = [sys.executable, "-m", "pipeline.tracking.store", f"sqlite:///{tmp_path}/mlflow.db"]
    started = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select name from experiments").fetchall() == [("Default",)]


def test_the_store_stands_in_the_current_folder_unless_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert tracking_uri() == "http://elsewhere:5000"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("./mlruns", "MLflow keeps no runs in plain folders"),
        ("file:///tmp/mlruns", "MLflow keeps no runs in plain folders"),
        ("http://127.0.0.1:9", "no MLflow server answers there"),
        ("sqlite://", "that database is in memory, and gone with the command"),
        ("sqlite:///:memory:", "that database is in memory, and gone with the command"),
        ("sqlite:////nowhere/at/all/mlflow.db", "the folder /nowhere/at/all is not there"),
    ],
)
def test_a_store_that_cannot_be_is_told_of_before_any_work(uri, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BadInput, match=rf"^MLFLOW_TRACKING_URI={uri}: {said}"):
        Store()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("digits", "digits"),
        ("Imágenes (1), a=b", "Imágenes -1-- a-b"),
        ("a/b:c", "a-b-c"),
        ("..", "pictures"),
    ],
)
def test_experiments_can_be_named_after_any_folder(name, safe):
    assert safe_name(name) == safe


def test_where_no_store_can_be_made_the_reason_is_the_systems(files_of_at_most, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with files_of_at_most(1000), pytest.raises(BadInput, match=f"cannot be made in {tmp_path}: File too large; "):
        Store()
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_grow_is_told_of_before_a_run_but_can_be_read(files_of_at_most, store):
    with files_of_at_most(1000):
        Store().open(to_write=False)
        with pytest.raises(BadInput, match=r"mlflow\.db cannot be written: File too large"):
            Store().open()


def test_a_write_waits_for_another_process_longer_than_sqlite_would(store, tmp_path):
    """Two sweeps at once on a slow disk: one of them failed where the other took more than five seconds."""
    run = store.create_run("0").info.run_id
    other = sqlite3.connect(tmp_path / "mlflow.db", check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(6, lambda: (other.commit(), other.close()))
    end.start()
    store.set_tag(run, "a", "b")
    end.join()
    assert store.get_run(run).data.tags["a"] == "b"


@pytest.mark.usefixtures("store")
def test_a_store_elsewhere_keeps_files_beside_its_database(monkeypatch, tmp_path):
    here = mlflow.get_experiment(experiment_id("here"))
    assert here.artifact_location == str(tmp_path / "mlruns" / here.experiment_id)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    Store().open()
    made = experiment_id("more birds")
    assert mlflow.get_experiment(made).artifact_location == (tmp_path / "mlruns" / "more birds").as_uri()
    assert experiment_id("more birds") == made
    assert experiment_id("here") == here.experiment_id
    assert not list(Path.cwd().iterdir())
