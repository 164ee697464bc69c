"""The same command again: what was done before is gone on with, or taken as it is."""

import json
import os
import signal
import subprocess
import sys
from time import sleep, time

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from pipeline.cli import sweep as sweeping
from pipeline.common.names import PARENT_VARIABLE
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.liveness import own_process
from pipeline.tracking.selection import members

OPTIONS = (
    "data=folder", "data.root=photos", "data.image_size=32", "model=squeezenet", "regime=scratch", "augmentation=none",
    "trainer.epochs=2", "trainer.num_workers=0", "trainer.batch_size=8", "trainer.accelerator=cpu",
    "trainer.precision=fp32", "trainer.threads=1", "trainer.checkpoint_minutes=0",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _photos(tmp_path, monkeypatch):
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)
    for number in range(40):
        file = tmp_path / "photos" / ("ant", "bee")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)


class BrokenOff(BaseException):
    pass


@pytest.fixture
def train(store, typed, monkeypatch):
    """Type the command with these options more; `until` an epoch at which it breaks off. Its exit code."""

    def _train(*more, until=None):
        def describe(epoch):
            if epoch.epoch == until:
                raise BrokenOff
            return ""

        with monkeypatch.context() as patch:
            patch.setattr("pipeline.experiment.training_run.describe", describe)
            try:
                return typed("train", *OPTIONS, *more)
            except BrokenOff:
                return None

    return _train


def runs(store, stage="train"):
    found = store.search_runs([store.get_experiment_by_name("photos").experiment_id], f"tags.stage = '{stage}'")
    return list(reversed(found))


def curve(store, run):
    return [(point.step, point.value) for point in store.get_metric_history(run.info.run_id, "train/loss")]


def weights(run):
    return (artifact_folder(run, "checkpoints") / "best.safetensors").read_bytes()


def test_what_broke_off_goes_on_in_its_own_run_and_what_is_through_is_left_alone(train, store, capsys):
    assert train() == 0
    [whole] = runs(store)
    assert train("seed=1", until=1) is None
    assert train(until=1) is None  # a finished one is no reason not to train once more
    [_, _, broken] = runs(store)
    assert broken.info.status == "FAILED"
    assert train() == 0
    assert "it goes on from the state it saved" in capsys.readouterr().out
    [_, _, healed] = runs(store)
    assert healed.info.run_id == broken.info.run_id
    assert healed.info.status == "FINISHED"
    assert curve(store, healed) == curve(store, whole)
    assert weights(healed) == weights(whole)


def test_without_a_state_it_begins_anew_in_the_same_run_and_no_epoch_is_logged_twice(train, store, capsys):
    assert train(until=2) is None
    [broken] = runs(store)
    for file in artifact_folder(broken, "checkpoints").glob("*.pt"):
        file.unlink()
    store.set_tag(broken.info.run_id, "error", "the disk was full")
    assert train("trainer.num_workers=1") == 0
    assert "goes on from its beginning" in capsys.readouterr().out
    [healed] = runs(store)
    assert [step for step, _ in curve(store, healed)] == [1, 2]
    assert "error" not in healed.data.tags


def test_killed_as_it_was_made_it_gets_the_parameters_and_inputs_that_it_lacks(train, store, monkeypatch):
    def killed(*_):
        raise BrokenOff

    assert train() == 0
    [whole] = runs(store)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tracking.runs.TrackedRun.log_params", killed)
        assert train() is None
    [_, begun] = runs(store)
    assert not begun.data.params
    store.log_param(begun.info.run_id, "trainer.num_workers", 7)  # some of them were, perhaps
    assert train() == 0
    [_, healed] = runs(store)
    assert healed.data.params == whole.data.params | {"trainer.num_workers": "7"}
    assert [one.dataset.digest for one in healed.inputs.dataset_inputs] == [
        one.dataset.digest for one in whole.inputs.dataset_inputs
    ]
    made, before = artifact_folder(healed, ""), artifact_folder(whole, "")
    assert sorted(file.name for file in made.iterdir()) == sorted(file.name for file in before.iterdir())


def test_other_pictures_or_settings_are_another_training(train, store, tmp_path):
    assert train(until=1) is None
    assert train("optimizer.lr=0.002") == 0
    (tmp_path / "photos" / "ant" / "0.png").write_bytes((tmp_path / "photos" / "bee" / "1.png").read_bytes())
    assert train() == 0
    assert [run.info.status for run in runs(store)] == ["FAILED", "FINISHED", "FINISHED"]
    assert train("resume=never", "optimizer.lr=0.002") == 0
    assert len(runs(store)) == 4


def test_other_weights_under_the_same_name_are_another_training(train, store, tmp_path):
    from torchvision.models import squeezenet1_0

    frozen = ("regime=frozen", "model.weights_file=own.pth", "-m", "seed=0,1")
    for number in range(2):
        torch.manual_seed(number)
        torch.save(squeezenet1_0(weights=None).state_dict(), tmp_path / "own.pth")
        assert train(*frozen) == 0
        assert len(runs(store)) == 2 * (number + 1)
    assert train(*frozen) == 0
    assert len(runs(store)) == 4


def test_a_run_that_a_process_is_at_is_not_trained_by_another(train, store, capsys):
    assert train(until=1) is None
    [run] = runs(store)
    store.update_run(run.info.run_id, status="RUNNING")
    for key, value in own_process().items():
        store.set_tag(run.info.run_id, key, value)
    assert train(f"resume={run.info.run_id}") == 2
    assert "a process is still at that run; stop it first" in capsys.readouterr().err
    assert train() == 0
    assert "under way in another process; this one is beside it" in capsys.readouterr().out
    assert [run.info.status for run in runs(store)] == ["RUNNING", "FINISHED"]


def test_a_sweep_typed_again_does_only_what_is_missing(train, store, capsys, tmp_path):
    assert train("seed=1") == 0
    assert train("-m", "seed=0,1,2", until=2) is None  # in its first job
    sweeping._under_way[-1].abandon()  # as at a process's end
    [sweep] = runs(store, "sweep")
    assert sweep.info.status == "KILLED"
    assert train("-m", "seed=0,1,2") == 0
    told = capsys.readouterr().out
    assert told.count("is this training, val accuracy") == 1
    assert told.count("it goes on from the state") == 1
    [one] = runs(store, "sweep")
    assert (one.info.run_id, one.info.status) == (sweep.info.run_id, "FINISHED")
    jobs = members(MlflowClient(), one.info.run_id)
    assert {job.info.status for job in jobs} == {"FINISHED"}
    assert sorted(job.data.tags["overrides"].split()[-1] for job in jobs) == ["seed=0", "seed=1", "seed=2"]
    assert len(runs(store)) == 3
    before = [(run.info.run_id, run.info.end_time) for run in runs(store)]
    assert train("-m", "seed=0,1,2", "trainer.num_workers=1") == 0
    assert [(run.info.run_id, run.info.end_time) for run in runs(store)] == before
    assert len(runs(store, "sweep")) == 1
    (tmp_path / "photos" / "ant" / "0.png").write_bytes((tmp_path / "photos" / "bee" / "1.png").read_bytes())
    assert train("-m", "seed=0,1,2") == 0
    assert len(runs(store)) == 6
    old = {run_id for run_id, _ in before}
    assert not old & {job.info.run_id for job in members(MlflowClient(), one.info.run_id)}
    assert train("-m", "seed=0,1,2", "resume=never") == 0
    assert len(runs(store, "sweep")) == 2


def test_a_sweeps_job_that_failed_is_done_again(train, store, tmp_path, capsys):
    assert train("-m", "model=squeezenet,alexnet") == 1  # for which the pictures are too small
    assert train("-m", "model=squeezenet,alexnet") == 1
    told = capsys.readouterr()
    assert told.out.count("is this training, val accuracy") == 1
    [sweep] = runs(store, "sweep")
    assert len(members(store, sweep.info.run_id)) == 2


SLOW = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started deaf to it
from pipeline.training import loop
really = loop._gradient_norm
def slow(*all):
    time.sleep(0.2)
    return really(*all)
loop._gradient_norm = slow
import runpy, sys
sys.argv[0] = "train"
runpy.run_module("pipeline.train", run_name="__main__")
"""


@pytest.fixture
def slow_process(tmp_path):
    """The command in a process of its own, whose steps take their time."""
    started = []

    def _start(*more):
        from pathlib import Path

        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        made = subprocess.Popen(
            [sys.executable, "-c", SLOW, *OPTIONS, *more], cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        started.append(made)
        return made

    yield _start
    for process in started:
        process.kill()
        process.wait()


def wait_for(what):
    until = time() + 300
    while not what():
        assert time() < until
        sleep(0.1)


def states(tmp_path):
    return list(tmp_path.glob("mlruns/**/last.pt"))


def experiment_is_there(store):
    return store.get_experiment_by_name("photos") is not None


def test_stopped_in_an_epoch_it_goes_on_there(slow_process, train, store, tmp_path, capsys):
    assert train() == 0
    [whole] = runs(store)
    process = slow_process("resume=never")
    wait_for(lambda: states(tmp_path))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command again goes on" in said
    assert runs(store)[1].info.status == "KILLED"
    assert train() == 0
    told = capsys.readouterr().out
    assert "it goes on from the state it saved" in told
    [_, healed] = runs(store)
    assert healed.info.status == "FINISHED"
    assert curve(store, healed) == curve(store, whole)
    assert weights(healed) == weights(whole)
    assert not states(tmp_path)
    assert json.loads((artifact_folder(healed, "checkpoints") / "best.json").read_text())["epoch"]


def test_a_sweep_whose_helpers_are_asked_to_end_as_well_does_not_go_on_with_its_next_job(
    slow_process, train, store, tmp_path
):
    """As a batch scheduler does, or a terminal that closes."""
    process = slow_process("-m", "seed=0,1", "trainer.num_workers=1")
    wait_for(lambda: states(tmp_path))
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert [run.info.status for run in runs(store)] == ["KILLED"]
    assert train("-m", "seed=0,1") == 0
    assert [run.info.status for run in runs(store)] == ["FINISHED"] * 2


def test_two_sweeps_of_one_command_share_out_the_jobs(slow_process, store):
    one, other = slow_process("-m", "seed=0,1,2"), slow_process("-m", "seed=0,1,2")
    told = [process.communicate()[0] for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], told
    assert [run.info.status for run in runs(store)] == ["FINISHED"] * 3, told
    [sweep, *_] = runs(store, "sweep")
    assert len(members(store, sweep.info.run_id)) == 3
