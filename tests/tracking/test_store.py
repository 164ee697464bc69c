import sqlite3
import subprocess
import sys

import pytest

from pipeline.errors import BadInput
from pipeline.tracking.names import safe_name
from pipeline.tracking.store import Store, tracking_uri


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
