"""What is checked before a training begins, and what ends one."""

import os

import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torchvision.models import squeezenet1_0

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.experiment.training import prepare, train
from pipeline.training.loop import NothingRead, Progress


def composed(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", list(overrides)), "train")


@pytest.mark.parametrize("limit", ["null", 2])
def test_batches_of_one_picture_are_refused_where_batch_norm_has_to_learn_from_them(limit):
    with pytest.raises(BadInput, match=r"trainer\.batch_size=1: .* try trainer\.batch_size=2$"):
        prepare(composed("trainer.batch_size=1", f"trainer.limit_batches={limit}"))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.devices=2"], r"trainer\.devices=2: batch-norm learns here.*regime\.batchnorm=frozen"),
        (["trainer.devices=4", "trainer.batch_size=3"], r"trainer\.batch_size=3 is that of all 4 processes"),
    ],
)
def test_several_processes_are_refused_what_they_cannot_do(overrides, said):
    with pytest.raises(BadInput, match=said):
        prepare(composed("trainer.accelerator=cpu", *overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.batch_size=419",),  # of 1,258 pictures the last one joins the batch before it
        ("trainer.batch_size=1", "data.image_size=64"),  # more than one pixel is left
        ("trainer.batch_size=1", "model=squeezenet", "data.image_size=64"),  # no batch-norm
    ],
)
def test_other_batches_of_one_picture_are_fine(overrides):
    prepare(composed(*overrides))


def test_files_that_hold_nothing_stop_a_training_before_it_begins(tmp_path):
    photos = tmp_path / "photos"
    for number in range(20):
        file = photos / "ab"[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    given = ("data=folder", f"data.root={photos}", "regime=scratch", "data.image_size=64", "data.split.val=0.2")
    prepare(composed(*given))
    (photos / "a" / "empty.png").write_bytes(b"")
    (photos / "b" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(photos / "b" / "pipe.png")
    with pytest.raises(BadInput) as told:
        prepare(composed(*given))
    for said in ("a/empty.png is empty (0 bytes)", "b/nowhere.png is not there", "b/pipe.png is not a file but a pipe"):
        assert said in str(told.value)
    assert "\n" not in str(told.value)
    prepare(composed(*given, "data.on_unreadable=skip"))


@pytest.mark.parametrize(
    "overrides",
    [
        ("regime=imagenet", "trainer.epochs=1"),
        ("regime=frozen", "trainer.epochs=1"),
        ("regime=frozen", "head=logistic"),
    ],
    ids=" ".join,
)
def test_a_training_of_which_not_one_picture_can_be_read_ends(overrides, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    torch.save(squeezenet1_0().state_dict(), tmp_path / "weights.pth")
    for number in range(20):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no picture")
    config = composed(
        "data=folder", f"data.root={tmp_path / 'photos'}", "data.on_unreadable=skip", "data.split.val=0.2",
        "model=squeezenet", f"model.weights_file={tmp_path / 'weights.pth'}", "data.image_size=64",
        "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.precision=fp32", *overrides,
    )  # fmt: skip
    with pytest.raises(NothingRead, match=r"not one of the pictures .* could be read: .*explore says why"):
        list(train(config, prepare(config), tmp_path / "run", Progress()))
