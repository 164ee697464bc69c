"""A run made again from the split that it kept."""

import sys
from pathlib import Path

import pytest

from pipeline.train import main

QUICK = (
    "model=squeezenet", "regime=scratch", "trainer.epochs=1", "trainer.batch_size=16", "trainer.limit_batches=1",
    "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.threads=1",
)  # fmt: skip


def train(monkeypatch, store, *arguments):
    """Type the command; the run it left."""
    monkeypatch.setattr(sys, "argv", ["train", *QUICK, *arguments])
    main()
    [latest, *_] = store.search_runs([store.get_experiment_by_name("digits").experiment_id])
    return latest


@pytest.mark.parametrize(
    "choices", [["data.classes=[3,5,8]", "data.fraction=0.5", "data.bootstrap=2"], ["data.split.folds=3"]], ids=" ".join
)
def test_the_kept_split_gives_the_same_run(choices, store, monkeypatch, tmp_path):
    first = train(monkeypatch, store, *choices)
    kept = Path(store.download_artifacts(first.info.run_id, "split.csv", str(tmp_path)))
    assert kept.read_text().startswith("path,label,split,digest\n")
    again = train(monkeypatch, store, *choices, f"data.split.file={kept}", "data.split.folds=null")
    assert again.data.tags["data_digest"] == first.data.tags["data_digest"]
    same = ("train/loss", "val/loss", "best/val_accuracy", "test/accuracy")
    assert {name: again.data.metrics[name] for name in same} == {name: first.data.metrics[name] for name in same}


def test_saving_the_split_too_is_the_same_config(store, monkeypatch, tmp_path):
    runs = [train(monkeypatch, store, *more) for more in ([], [f"data.split.save={tmp_path}/mine.csv"])]
    assert runs[0].data.tags["config_digest"] == runs[1].data.tags["config_digest"]
    kept = Path(store.download_artifacts(runs[1].info.run_id, "split.csv", str(tmp_path)))
    saved = [line.rpartition(",")[0] for line in kept.read_text().splitlines()]  # without the digests
    assert saved == (tmp_path / "mine.csv").read_text().splitlines()
