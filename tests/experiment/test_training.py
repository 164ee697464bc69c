"""What is checked before a training begins."""

import os
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.experiment.training import check_smallest_batch, prepare
from pipeline.models.classifier import NetworkSpec


def composed(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", list(overrides)), "train")


@pytest.mark.parametrize(
    ("size", "limit", "better"), [(1, "null", 2), (1, 2, 2), (1257, "null", 1258), (419, "null", 420)]
)
def test_a_batch_of_one_picture_is_refused_where_batch_norm_has_to_learn_from_it(size, limit, better):
    said = rf"trainer\.batch_size={size}: .* try trainer\.batch_size={better}$"
    with pytest.raises(BadInput, match=said):
        prepare(composed(f"trainer.batch_size={size}", f"trainer.limit_batches={limit}"))


def test_the_size_to_try_leaves_no_batch_of_one_either():
    network = SimpleNamespace(spec=NetworkSpec("torchvision/resnet18", 2, Preprocessing(image_size=32)))
    batches = MagicMock(n_pictures=13, __len__=lambda _self: 13)
    with pytest.raises(BadInput, match=r"try trainer\.batch_size=5$"):
        check_smallest_batch(composed("trainer.batch_size=1"), network, batches)


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.batch_size=419", "trainer.limit_batches=2"),  # the last batch does not come up
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
