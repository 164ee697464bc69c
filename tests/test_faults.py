"""The bench of faults, in small: what is killed and typed again ends as if nothing had happened."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "faults" / "storm.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_storm_changes_nothing(tmp_path):
    """In a process of its own, as what it forks must not have asked MLflow for anything yet."""
    options = ["--kills", "2", "--seed", "3", "--folder", str(tmp_path / "trials")]
    done = subprocess.run([sys.executable, str(BENCH), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" 0 lost")


def test_what_a_storm_changed_is_seen():
    spec = importlib.util.spec_from_file_location("storm", BENCH)
    storm = importlib.util.module_from_spec(spec)
    sys.modules["storm"] = storm
    spec.loader.exec_module(storm)
    calm = storm.Outcome({"train": {"val/loss": 0.5}}, {"best": "ab"}, {"curves.png"})
    assert storm.differences(calm, calm) == []
    other = storm.Outcome({"train": {"val/loss": 0.5000001}}, {"best": "ac"}, {"last.pt"}, ["train is RUNNING"])
    assert storm.differences(calm, other) == [
        "train is RUNNING", "train: val/loss 0.5 is 0.5000001", "other bytes: best", "left: last.pt",
        "missing: curves.png",
    ]  # fmt: skip
