"""What the first version left behind is read by this one: `store.tar.xz` holds a sweep of two runs of a tiny network on
four digits, a frozen run, an ensemble and the registered model, as 0.1 wrote them in /tmp/study (without figures).
"""

import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipeline.tracking.selection import find_experiment, find_sweep, members
from pipeline.tracking.store import Store

ARCHIVE, WRITTEN_IN = Path(__file__).with_name("store.tar.xz"), "/tmp/study"


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """The store, moved to the current folder; a client of it."""
    import mlflow

    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        for table, column in (
            ("runs", "artifact_uri"), ("experiments", "artifact_location"), ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):  # fmt: skip
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (WRITTEN_IN, str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Store().open()
    return mlflow.MlflowClient()


def test_runs_are_compared_evaluated_anew_combined_and_promoted(earlier, typed, capsys):
    parent = find_sweep(earlier, find_experiment(earlier, "digits"), "latest")
    one = members(earlier, parent.info.run_id)[0]
    assert typed("compare", "sweep=latest") == 0
    assert "99.3 %" in capsys.readouterr().out  # the mean of two seeds on val
    assert typed("evaluate", f"run={one.info.run_id}", "checkpoint=epoch_1", "trainer.num_workers=0") == 0
    assert typed("evaluate", f"run={one.info.run_id}", "evaluation.tta=flips", "trainer.num_workers=0") == 0
    assert "144 pictures" in capsys.readouterr().out
    assert typed("ensemble", "sweep=latest", "strategies=[soft_vote]") == 0
    assert typed("promote", f"run={one.info.run_id}") == 0
    assert str(earlier.get_model_version_by_alias("digits", "champion").version) == "2"


def test_a_registered_model_answers(earlier, typed, tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    assert typed("predict", "images=white.png", "model=models:/digits/1") == 0
    said = pd.read_csv("predictions.csv")
    code = (
        "import mlflow, pandas, pathlib; mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "model = mlflow.pyfunc.load_model('models:/digits/1')\n"
        "print(model.predict(pandas.DataFrame({'image': [pathlib.Path('white.png').read_bytes()]}))[0]['probability'])"
    )
    served = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert float(served.stdout.split()[-1]) == pytest.approx(said["probability"][0], abs=1e-4)
