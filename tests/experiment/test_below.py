"""What lies below all that trains, asked once a picture: the same figures as when it is asked in each epoch."""

import logging

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from torchvision.models import squeezenet1_1

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.config.keys import CONF
from pipeline.experiment.forecast import forecast
from pipeline.experiment.inference import split_answers
from pipeline.experiment.training import prepare, train
from pipeline.models.below import Below
from pipeline.training import checkpoints
from pipeline.training.loop import Progress


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(squeezenet1_1().state_dict(), file)
    return file


@pytest.fixture
def asked(monkeypatch):
    """How many pictures lower parts were asked about, pass by pass."""
    made, seen = [], Below.features

    def features(self, inputs):
        made.append(len(inputs.pixels))
        return seen(self, inputs)

    monkeypatch.setattr(Below, "features", features)
    return made


@pytest.fixture
def go(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "cache"))

    def gone(folder, *overrides, until=None, resume="auto"):
        given = (
            "model.name=torchvision/squeezenet1_1", f"model.weights_file={weights}", "regime=imagenet",
            "regime.trains=last:2", "augmentation=none", "data.classes=3", "data.fraction=0.15", "data.image_size=32",
            "trainer.epochs=2", "trainer.batch_size=16", "trainer.accelerator=cpu", "trainer.num_workers=0",
            "trainer.precision=fp32", "head.dropout=0.5",
        )  # fmt: skip
        with initialize_config_dir(str(CONF), **VERSION_BASE):
            config = check(compose("train", [*given, *overrides, f"resume={resume}"]), "train")
        prepared = prepare(config)
        figures = []
        for epoch in train(config, prepared, tmp_path / folder, Progress()):
            figures.append((epoch.epoch, epoch.train_loss, epoch.train_accuracy, epoch.val_loss, epoch.val_accuracy))
            if epoch.epoch == until:
                break
        return config, prepared, figures

    return gone


ANEW = "trainer.feature_cache_gb=0"


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["augmentation=trivial"],  # val alone
        ["augmentation=trivial", "regime.views=2", "trainer.epochs=3"],  # the third sees the first one's copies again
        ["regime.head_epochs=1", "trainer.epochs=1", "trainer.precision=bf16"],
    ],
    ids=" ".join,
)
def test_figures_and_weights_are_those_of_asking_in_each_epoch(overrides, go, asked, tmp_path):
    config, kept, figures = go("kept", *overrides)
    assert asked
    seen = sum(asked)
    answers = split_answers(config, kept, "val")
    assert sum(asked) == seen
    config, anew, expected = go("anew", *overrides, ANEW)
    assert sum(asked) == seen
    # Not to the last bit: a batch of another size, as the last one of a pass is, rounds otherwise.
    assert np.array(figures) == pytest.approx(np.array(expected), rel=1e-5)
    found, wanted = (load_file(tmp_path / folder / "best.safetensors") for folder in ("kept", "anew"))
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name])
    np.testing.assert_allclose(answers.logits, split_answers(config, anew, "val").logits, rtol=1e-4, atol=1e-5)


def test_it_is_asked_about_each_picture_once_by_all_runs_and_resumed_ones(go, asked, monkeypatch):
    now = iter(range(0, 10**9, 1000))  # each save is due
    _, prepared, figures = go("first")
    pictures = len(prepared.table.where("train")) + len(prepared.table.where("val"))
    assert sum(asked) == pictures
    monkeypatch.setattr(checkpoints, "monotonic", lambda: next(now))
    _, _, before = go("broken", until=1)
    torch.manual_seed(99)
    _, _, after = go("broken", resume="this")
    assert before + after == figures
    go("other", "seed=7", "optimizer.lr=0.01")
    assert sum(asked) == pictures
    go("higher", "regime.trains=last:1")
    assert sum(asked) == 2 * pictures


def test_augmented_views_are_kept_too(go, asked):
    _, prepared, _ = go("views", "augmentation=trivial", "regime.views=2")
    assert sum(asked) == 2 * len(prepared.table.where("train")) + len(prepared.table.where("val"))


def test_where_there_is_no_room_it_is_said_and_trained_all_the_same(go, asked, caplog):
    caplog.set_level(logging.INFO)
    _, _, figures = go("little", "trainer.feature_cache_gb=1e-6")
    assert len(figures) == 2
    assert not asked
    said = [record.message for record in caplog.records if "below" in record.message]
    assert len(said) == 1
    assert said[0].startswith("what lies below last:2 is asked anew in each epoch: to keep it takes ")


def test_a_small_part_of_the_work_is_not_kept(go, asked, caplog):
    caplog.set_level(logging.INFO)
    go("most", "regime.trains=last:8")
    assert not asked
    assert [line for line in caplog.messages if "last:8" in line and "of the work, less than is worth keeping" in line]


def test_its_passes_are_foretold(go):
    config, prepared, _ = go("first")
    foretold = forecast(config, prepared, "again")
    assert [seconds > 0 for seconds in foretold.passes.values()] == [False, False, True]  # test was not asked yet
    test = len(prepared.table.where("test"))
    assert sum(foretold.features.values()) == test * next(iter(prepared.below.values())).n_features * 4
