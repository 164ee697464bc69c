"""The MLflow project hands its overrides on word by word, and to no shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.projects import _project_spec

ROOT = Path(__file__).resolve().parent.parent


def started(entry, overrides, folder):
    """What `mlflow run` would start, as a shell runs it."""
    point = _project_spec.load_project(str(ROOT)).get_entry_point(entry)
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", point.compute_command({"overrides": overrides}, None)],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": paths, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("entry", ["main", "promote"])
@pytest.mark.parametrize("hostile", ["--cfg job; touch ran", "--cfg job $(touch ran)", "--cfg job\ntouch ran"])
def test_nothing_in_the_overrides_runs(entry, hostile, tmp_path):
    done = started(entry, hostile, tmp_path)
    assert not (tmp_path / "ran").exists()
    assert done.returncode == 2


def test_words_are_taken_apart_as_a_shell_would(tmp_path):
    done = started("main", "--cfg job 'tracking.run_name=\"a b\"' seed=7", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run_name: a b" in done.stdout
    assert "seed: 7" in done.stdout
    done = started("promote", "--cfg job", tmp_path)
    assert "alias: champion" in done.stdout
