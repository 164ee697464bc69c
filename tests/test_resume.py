"""A run that breaks off and goes on ends with the same figures, to the last bit, as one that did not."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from pipeline import train
from pipeline.door import CONF, check
from pipeline.training import checkpoints
from pipeline.training.loop import Progress

COMMON = (
    "model=squeezenet", "data.classes=3", "trainer.limit_batches=3", "trainer.batch_size=8", "trainer.threads=1",
    "trainer.accelerator=cpu", "trainer.num_workers=0", "trainer.precision=fp32", "head.dropout=0.5",
    "augmentation=trivial", "trainer.epochs=4",
)  # fmt: skip


def go(folder, *overrides, until=None, resume=None):
    """Figures of the epochs up to `until`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = check(compose("train", [*COMMON, *overrides, f"resume={resume or 'null'}"]), "train")
    prepared = train.prepare(config)
    figures = []
    for epoch in train.train(config, prepared, folder, Progress()):
        figures.append((epoch.epoch, epoch.train_loss, epoch.val_loss, epoch.val_accuracy, epoch.lr, epoch.improved))
        if epoch.epoch == until:
            break  # here the next epoch is never begun, as after a crash
    return figures


@pytest.fixture
def _saves_every_epoch(monkeypatch):
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(checkpoints, "monotonic", lambda: next(now))


@pytest.mark.usefixtures("_saves_every_epoch")
@pytest.mark.parametrize(
    "overrides",
    [
        ["scheduler=onecycle"],
        ["scheduler=plateau", "scheduler.patience=0", "optimizer=sgd", "optimizer.lr=0.01"],
        ["scheduler=step", "scheduler.step_epochs=1", "trainer.accumulate=2", "trainer.clip_norm=1"],
        ["trainer.patience=2", "optimizer.lr=1e-12"],
        ["regime.head_epochs=2", "trainer.epochs=2"],
        ["regime.head_epochs=3", "trainer.epochs=2", "trainer.patience=1", "optimizer.lr=1e-12"],
    ],
    ids=" ".join,
)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_last_bit(overrides, tmp_path):
    whole = go(tmp_path / "whole", *overrides)
    best = (tmp_path / "whole" / "best.safetensors").read_bytes()
    for until in range(1, len(whole)):
        folder = tmp_path / str(until)
        before = go(folder, *overrides, until=until)
        torch.manual_seed(99)
        after = go(folder, *overrides, resume="this")
        assert before + after == whole
        assert (folder / "best.safetensors").read_bytes() == best
