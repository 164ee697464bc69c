"""Training with data.on_unreadable=skip where a class, or a split, has nothing left that can be read."""

import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """Published splits of three classes."""
    for number in range(45):
        label, split = ("ant", "bee", "cat")[number % 3], ("train", "train", "train", "val", "test")[number // 3 % 5]
        file = tmp_path / "photos" / split / label / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


@pytest.fixture
def train(photos, store, monkeypatch):
    """Spoil some pictures and type the command; its exit code, and its run."""

    def _train(*spoilt):
        from pipeline.train import main

        for pattern in spoilt:
            for file in photos.glob(f"{pattern}/*.jpg"):
                file.write_bytes(b"")
        monkeypatch.setattr(sys, "argv", [
            "train", "data=folder", f"data.root={photos}", "data.on_unreadable=skip", "data.image_size=32",
            "model=squeezenet", "regime=scratch", "augmentation=none", "trainer.epochs=1",
            "trainer.num_workers=0", "trainer.batch_size=8", "trainer.accelerator=cpu",
        ])  # fmt: skip
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        [run] = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
        return code, run

    return _train


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (["train/bee"], "class 'bee' has no picture in train that can be read, such as train/bee/"),
        (["*/cat"], "class 'cat' has no picture in train that can be read"),
        (["train/*"], "class 'ant' (and 2 more classes) has no picture in train that can be read"),
        (["val/*"], "has no picture in val that can be read, such as val/ant/"),
    ],
)
def test_it_stops_in_one_line_that_names_the_class(spoilt, said, train, capsys):
    code, run = train(*spoilt)
    told = capsys.readouterr().err
    assert code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert run.info.status == "FAILED"


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_only_scores_have_lost_is_warned_of(split, train, capsys):
    code, run = train(f"{split}/bee")
    assert (code, run.info.status) == (0, "FINISHED")
    assert f"class 'bee' has no picture in {split} that can be read" in capsys.readouterr().out
    assert run.data.metrics["skipped_pictures"] == 3


def test_without_any_test_picture_there_is_no_test_figure(train, capsys):
    code, run = train("test/*")
    assert (code, run.info.status) == (0, "FINISHED")
    assert "class 'ant' (and 2 more classes) has no picture in test" in capsys.readouterr().out
    assert "best/val_accuracy" in run.data.metrics
    assert "test/accuracy" not in run.data.metrics
