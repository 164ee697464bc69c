"""What stages learn from: features, kept for whoever meets the same pictures."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.experiment import stages
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.training.hardware import make_fabric

AUGMENTATION = SimpleNamespace(
    name="crop_jitter", options={}, model_dump=lambda: {"name": "crop_jitter", "options": {}}
)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Sixteen photographs in a folder, eight of each class."""
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))
    for number in range(16):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Classifier(NetworkSpec("torchvision/squeezenet1_0", 2, Preprocessing(image_size=32))).eval()


def features(network, folder, splits, view, seed=0, gb=1.0):
    """Features of a view of the training pictures, by path; `splits`: each picture's, in the table's order."""
    table = read_source("folder", root=str(folder), on_unreadable="skip")
    keep = np.flatnonzero(np.array(splits) != "")
    rows = table.rows.assign(split=np.array(splits)).iloc[keep].reset_index(drop=True)
    table = table.with_rows(rows.assign(split=rows["split"].astype(table.rows["split"].dtype)))
    trainer = SimpleNamespace(
        limit_batches=None, batch_size=4, num_workers=0, feature_cache_gb=gb, devices=1, engine="torch"
    )
    data = SimpleNamespace(on_unreadable="skip", cache="none", cache_gb=0)
    config = SimpleNamespace(augmentation=AUGMENTATION, seed=seed, trainer=trainer, data=data)
    prepared = SimpleNamespace(
        features={}, waited=[], network=network, table=table, resolved={}, ranks=None, fabric=make_fabric("cpu", "fp32")
    )
    found = stages.features(config, prepared, "train", view)
    paths = table.rows["path"].to_numpy()[found.rows]
    return dict(zip(paths, found.values.read(), strict=True)), table.skipped


TRAIN = ["train", "test"] * 8
SHIFTED = ["train", "", "train", "test"] * 4


@pytest.mark.parametrize("view", [None, 0, 1])
def test_the_same_pictures_have_the_same_features_in_a_table_with_fewer_others(network, photos, view):
    fresh, _ = features(network, photos, SHIFTED, view, gb=0)
    first, _ = features(network, photos, TRAIN, view)
    again, _ = features(network, photos, SHIFTED, view)
    assert fresh.keys() == again.keys() == first.keys()
    for path, values in fresh.items():
        np.testing.assert_array_equal(first[path], values)
        np.testing.assert_array_equal(again[path], values)


def test_views_and_seeds_differ(network, photos):
    made = [features(network, photos, TRAIN, view, seed)[0] for view, seed in ((None, 0), (0, 0), (1, 0), (0, 1))]
    path = next(iter(made[0]))
    assert len({one[path].tobytes() for one in made}) == 4


def test_another_layout_in_memory_has_features_of_its_own(network, photos, tmp_path):
    """As what a run reckons may differ in its last bits with it."""
    for number, layout in enumerate((torch.contiguous_format, torch.channels_last, torch.contiguous_format)):
        features(deepcopy(network).to(memory_format=layout), photos, TRAIN, None)
        assert len(list((tmp_path / "cache").rglob("*.features.npy"))) == min(number + 1, 2)


def test_a_picture_that_cannot_be_read_is_left_out_once_and_the_reason_stays(network, photos):
    (photos / "a" / "00.png").write_bytes(b"GIF89a")
    for _ in range(2):
        found, skipped = features(network, photos, TRAIN, None)
        assert len(found) == 7
        assert list(skipped) == ["a/00.png"]
        assert "GIF" in skipped["a/00.png"] or "damaged" in skipped["a/00.png"]


def composed(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", list(overrides)), "train")


def test_weights_are_kept_of_epochs_that_there_are():
    stages.check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[1,10]"))
    stages.check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[12]", "regime.head_epochs=2"))
    with pytest.raises(BadInput, match=r"^trainer\.keep_epochs=\[11, 50\]: the last epoch is 10$"):
        stages.check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[3,11,50]"))
    with pytest.raises(BadInput, match="the last epoch is 12, 2 of them of the head alone"):
        stages.check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[13]", "regime.head_epochs=2"))


def test_a_head_that_learns_nothing_is_not_fitted_once_more():
    asked = [stages.refits(composed("regime=frozen", f"head={head}", "trainer.refit=true")) for head in ("knn", "text")]
    assert asked == [True, False]


def test_epochs_typed_for_a_head_that_is_fitted_once_are_said_to_tell_it_nothing(caplog):
    caplog.set_level("INFO")
    stages.check_fitted(composed("regime=frozen", "head=knn", "trainer.epochs=5"), ["head=knn", "trainer.epochs=5"])
    assert caplog.messages == ["head=knn is fitted once: trainer.epochs=5 says nothing to it"]
