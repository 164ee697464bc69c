"""A disk that fills up in mid-training: one line, a run that FAILED, and nothing lost of what was written before."""

import errno
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from stored import load_best

from pipeline.models import saved
from pipeline.train import main
from pipeline.training import checkpoints

QUICK = (
    "model=squeezenet", "regime=scratch", "trainer.epochs=3", "trainer.batch_size=16", "trainer.limit_batches=1",
    "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.threads=1", "data.image_size=32", "data.classes=3",
)  # fmt: skip


def no_space(file):
    from safetensors import SafetensorError

    if file.name == "last.pt":
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 3226496 vs 3226388")
    if file.suffix == ".safetensors":
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    raise OSError(errno.ENOSPC, "No space left on device", str(file))


@pytest.fixture
def full_from(monkeypatch):
    """Let the disk be full from that write of that file on."""
    real = checkpoints.write_atomically

    def fill(name, time=1):
        seen = []

        def write(file, how, **options):
            seen.append(file.name)
            if seen.count(name) >= time and file.name == name:
                no_space(file)
            real(file, how, **options)

        for module in (checkpoints, saved):
            monkeypatch.setattr(module, "write_atomically", write)

    return fill


def train(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["train", *QUICK, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err.strip().splitlines()


def only_run(store):
    [run] = store.search_runs([store.get_experiment_by_name("digits").experiment_id])
    return run, Path(run.info.artifact_uri.removeprefix("file://")) / "checkpoints"


def test_weights_that_do_not_fit_end_the_run_in_one_line(store, monkeypatch, capsys, full_from):
    full_from("epoch_2.safetensors")
    code, said = train(monkeypatch, capsys, "trainer.keep_epochs=[1,2]")
    assert code == 1
    [line] = said
    assert "no space is left on the disk of" in line
    assert "free some, then train again" in line
    run, folder = only_run(store)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", line.removeprefix("error: "))
    assert {file.name for file in folder.iterdir()} >= {"best.safetensors", "best.json", "epoch_1.safetensors"}
    load_best(folder)
    assert not list(folder.glob(".making-*"))


def test_a_state_that_was_saved_before_is_gone_on_with(store, monkeypatch, capsys, full_from):
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(checkpoints, "monotonic", lambda: next(now))  # the state is saved in every epoch
    full_from("last.pt", time=2)
    _, lines = train(monkeypatch, capsys)
    _, folder = only_run(store)
    assert lines[-1].endswith("free some, then type the same command again, which goes on with this run"), lines
    assert checkpoints.read_state(folder)["progress"]["unfinished"]["batches"] == 1


def test_a_store_on_the_same_disk_hides_nothing(store, monkeypatch, capsys, full_from):
    def full(*_, **__):
        raise MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: UPDATE runs]")

    full_from("best.safetensors")
    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", full)
    code, said = train(monkeypatch, capsys)
    assert code == 1
    assert said[-1].startswith("error: no space is left on the disk of")
    assert "Traceback" not in "\n".join(said)
