import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from pipeline.cli.sweep import swept
from pipeline.tracking.liveness import Heartbeat

ROOT = Path(__file__).parents[2]


def typed(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pipeline.train", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"} | environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("launcher", "code", "said"),
    [
        ("parallel", "import os; os._exit(3)", "a job's process died, and joblib ended the others"),
        ("local", "import os; os._exit(3)", "a job's process died; what it said last is in "),
    ],
)
def test_a_job_that_dies_before_its_run_is_counted_and_named(launcher, code, said, store, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{'joblib' if launcher == 'parallel' else 'submitit'}_launcher")
    broken = tmp_path / "path" / "timm"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(code)
    done = typed(
        "-m", "model.name=timm/one,timm/two", "seed=7", f"hydra/launcher={launcher}", "trainer.precision=fp32",
        cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(ROOT), str(broken.parent)]),
    )  # fmt: skip
    assert done.returncode == 1
    kept = {"mlruns"} if launcher == "local" else set()  # what its jobs printed
    assert {one.name for one in tmp_path.iterdir()} <= {
        "path",
        "mlflow.db",
        ".mlflow.db.lock",
    } | kept  # none of Hydra's
    (experiment,) = [one for one in store.search_experiments() if one.name == "digits"]
    runs = store.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"] * 3
    jobs = [run for run in runs if run.data.tags["stage"] == "train"]
    assert {run.info.run_name for run in jobs} == {"model.name=timm/one", "model.name=timm/two"}
    for run in jobs:
        assert said in run.data.tags["error"]
        assert f"failed: {run.info.run_name}: {run.data.tags['error']}" in done.stdout


def test_a_sweeps_parent_gives_signs_of_life_while_it_lasts(store, typed, monkeypatch):
    beaten = []
    monkeypatch.setattr(Heartbeat, "_beat", lambda _, run: beaten.append(run))
    assert typed("train", "-m", "model.name=timm/one,timm/two", "trainer.precision=fp32") == 1
    (experiment,) = [one for one in store.search_experiments() if one.name == "digits"]
    runs = store.search_runs([experiment.experiment_id], "tags.stage = 'sweep'")
    assert beaten == [run.info.run_id for run in runs]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["trainer.epochs=1,0"], "trainer.epochs=0: should be greater than or equal to 1 (in the job trainer.epochs=0"),
        (["loss.gamma=1,2"], "loss.gamma does not belong to the loss chosen"),
    ],
)
def test_a_job_whose_config_is_bad_is_found_before_the_first_begins(given, said, store, typed, capsys):
    assert typed("train", "-m", "seed=0", "hydra.sweeper.max_batch_size=1", *given) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert [one.name for one in store.search_experiments()] == ["Default"]


def test_runs_go_on_one_at_a_time(store, tmp_path):
    done = typed("-m", "resume=abc,def", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert done.stderr.startswith("error: resume=abc,def: one run goes on at a time, and without -m; ")
    assert [one.name for one in store.search_experiments()] == ["Default"]


def test_swept_is_what_hydra_sweeps():
    given = ["data.classes=[a,b]", "model=glob(*)", "data.root='a, b'", "seed=0,1", "+x=range(1,3)"]
    assert swept(given) == ["model=glob(*)", "seed=0,1", "+x=range(1,3)"]


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("parallel", "hydra/launcher: joblib is not installed: pip install -e '.[parallel]'"),
        ("local", "hydra/launcher: submitit_local is not installed: pip install -e '.[cluster]'"),
    ],
)
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(launcher, said, store, typed, monkeypatch, capsys):
    Plugins.instance()  # which are found once
    there = ConfigStore.instance().repo["hydra"]["launcher"]
    kept = {name: node for name, node in there.items() if not name.startswith(("joblib", "submitit"))}
    monkeypatch.setitem(ConfigStore.instance().repo["hydra"], "launcher", kept)
    assert typed("train", "-m", "seed=0,1", f"hydra/launcher={launcher}") == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    assert [one.name for one in store.search_experiments()] == ["Default"]


def test_without_slurm_that_is_said(store, typed, monkeypatch, capsys, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed("train", "-m", "seed=0,1", "hydra/launcher=submitit") == 2
    assert capsys.readouterr().err.startswith("error: hydra/launcher=submitit: SLURM is not on this machine")
    (experiment,) = [one for one in store.search_experiments() if one.name == "digits"]
    assert not store.search_runs([experiment.experiment_id])
