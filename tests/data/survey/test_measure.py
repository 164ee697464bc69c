import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.reading.augmentation import build_augmentation
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.splits import split_table
from pipeline.data.survey import measure as survey
from pipeline.data.survey.statistics import channel_statistics, copies, leaking, sample
from pipeline.data.table import PictureTable

HOW = Preprocessing(64)


@pytest.fixture
def messy(tmp_path: Path) -> PictureTable:
    """Smooth pictures of two classes, with all that can be wrong with some."""
    root = tmp_path / "set"
    for number in range(8):
        coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        file = root / ("train" if number < 6 else "val") / "ab"[number % 2] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC).save(file, quality=95)
    shutil.copy(root / "train/a/0.jpg", root / "train/b/label.jpg")
    shutil.copy(root / "train/a/2.jpg", root / "val/a/split.jpg")
    Image.open(root / "train/b/1.jpg").resize((100, 75)).save(root / "val/b/near.jpg", quality=70)
    (root / "train/a/cut.jpg").write_bytes((root / "train/a/0.jpg").read_bytes()[:900])
    (root / "train/a/none.jpg").write_bytes(b"")
    Image.new("L", (200, 20)).save(root / "train/a/plain.png")
    Image.new("RGB", (40, 40), "red").save(root / "train/b/really.jpg", "PNG")
    return read_source("folder", root=str(root))


def facts_of(table: PictureTable, workers: int = 0):
    rows = np.arange(len(table.rows))
    facts = survey.collect(list(survey.Parts(table, rows, HOW, workers=workers)))
    return facts.set_index(table.rows["path"].to_numpy()[facts["row"]])


def test_every_picture_is_measured_and_what_is_wrong_is_named(messy: PictureTable) -> None:
    facts = facts_of(messy)
    assert len(facts) == len(messy.rows)
    assert facts["problem"][facts["problem"] != ""].index.tolist() == ["train/a/cut.jpg", "train/a/none.jpg"]
    assert facts.loc["train/a/0.jpg", ["width", "height", "format"]].tolist() == [120, 90, "JPEG"]
    plain = facts.loc["train/a/plain.png", "odd"]
    assert plain == "smaller than 32 pixels, over 4 times as long as wide, one plain colour, grey"
    assert "PNG named .jpg" in facts.loc["train/b/really.jpg", "odd"]


def test_processes_change_nothing(messy: PictureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_FEW", 0)
    assert facts_of(messy, workers=2).equals(facts_of(messy))


def test_copies_and_leaks_are_found(messy: PictureTable) -> None:
    found = leaking(messy, copies(messy, facts_of(messy), 4))
    assert {(a, b, leak, kind) for a, b, leak, kind in found[["path", "other_path", "leak", "kind"]].to_numpy()} == {
        ("train/a/0.jpg", "train/b/label.jpg", "label", "exact"),
        ("train/a/2.jpg", "val/a/split.jpg", "split", "exact"),
        ("train/b/1.jpg", "val/b/near.jpg", "split", "near"),
    }


def test_exact_copies_among_near_ones_are_exact(messy: PictureTable) -> None:
    assert messy.root is not None
    shutil.copy(messy.root / "train/b/1.jpg", messy.root / "val/b/same.jpg")
    (messy.root / "val/a/none too.jpg").write_bytes(b"")
    table = read_source("folder", root=str(messy.root))
    alike = copies(table, facts_of(table), 4)
    kinds = dict(zip(table.rows["path"].iloc[alike["row"]], alike["kind"], strict=True))
    assert {path: kinds[path] for path in ("train/b/1.jpg", "val/b/same.jpg", "val/b/near.jpg")} == {
        "train/b/1.jpg": "exact", "val/b/same.jpg": "exact", "val/b/near.jpg": "near",
    }  # fmt: skip
    assert not any("none" in path for path in kinds)  # empty files are all the same, and no picture's copy
    found = leaking(table, alike)
    pairs = found.loc[found["path"] == "train/b/1.jpg", ["other_path", "kind"]].to_numpy()
    assert sorted(map(tuple, pairs)) == [("val/b/near.jpg", "near"), ("val/b/same.jpg", "exact")]


def test_mirrored_and_cropped_copies_are_found(messy: PictureTable) -> None:
    assert messy.root is not None
    image = Image.open(messy.root / "train/b/3.jpg")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(messy.root / "val/b/mirrored.jpg", quality=80)
    image.crop((6, 5, 114, 85)).resize((90, 70)).save(messy.root / "val/b/cropped.jpg", quality=80)
    table = read_source("folder", root=str(messy.root))
    found = leaking(table, copies(table, facts_of(table), 4))
    pairs = found.loc[found["path"] == "train/b/3.jpg", ["other_path", "kind"]].to_numpy().tolist()
    assert ["val/b/cropped.jpg", "near"] in pairs or ["val/b/mirrored.jpg", "near"] in pairs
    alike = copies(table, facts_of(table), 4)
    groups = dict(zip(table.rows["path"].iloc[alike["row"]], alike["group"], strict=True))
    assert groups["val/b/mirrored.jpg"] == groups["val/b/cropped.jpg"] == groups["train/b/3.jpg"]
    assert len(set(groups.values())) == 4


def test_what_cannot_be_read_is_no_copy(messy: PictureTable) -> None:
    assert messy.root is not None
    for elsewhere in ("train/b/cut too.jpg", "val/a/cut.jpg"):
        shutil.copy(messy.root / "train/a/cut.jpg", messy.root / elsewhere)
    table = read_source("folder", root=str(messy.root))
    facts = facts_of(table)
    assert (facts["problem"] != "").sum() == 4
    alike = copies(table, facts, 4)
    assert not table.rows["path"].iloc[alike["row"]].str.contains("cut").any()
    assert len(leaking(table, alike)) == 3  # those of pictures that can be read


def test_a_clean_set_has_no_copies(photos: PictureTable) -> None:
    table = photos.take(np.arange(3))
    alike = copies(table, facts_of(table), 0)
    assert alike.empty
    assert leaking(table, alike).empty


def test_channels_are_those_of_all_pixels() -> None:
    table = read_source("digits")
    rows = np.arange(200)
    facts = survey.collect(list(survey.Parts(table, rows, Preprocessing(8))))
    assert table.pixels is not None
    values = table.pixels[rows] / 255
    found = channel_statistics(facts)
    np.testing.assert_allclose(found["mean"], values.mean(axis=(0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(found["std"], values.std(axis=(0, 1, 2)), atol=1e-9)


def test_a_sample_holds_every_class_in_its_share() -> None:
    table = split_table(read_source("digits"), val=0.1, test=0.2)
    rows = sample(table, 200)
    assert len(set(rows)) == 200
    assert np.bincount(table.labels[rows], minlength=10).min() >= 17
    assert len(sample(table, None)) == len(sample(table, 10**9)) == 1797


def test_thumbnails_take_classes_in_turn(messy: PictureTable) -> None:
    facts = facts_of(messy)
    readable = facts.loc[facts["problem"] == "", "row"].to_numpy()
    found = survey.thumbnails(messy, readable, 4, "squash")
    assert [label for _, label in found] == ["a", "a", "b", "b"]
    seen = survey.augmented_views(messy, readable, Preprocessing(16), build_augmentation("none", 16), most=3, views=2)
    assert [len(strip) for strip in seen] == [3, 3, 3]  # of two classes


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        (lambda image: image.resize((50, 50)), True),
        (lambda image: image.crop((4, 4, 76, 76)), True),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), True),
        (lambda image: image.rotate(90), False),
    ],
)
def test_pictures_that_look_alike(photos, change, alike):
    coarse = np.random.default_rng(3).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((80, 80), Image.Resampling.BICUBIC)
    image.save(photos.root / "cat" / "00.jpg")
    change(image).save(photos.root / "cat" / "01.jpg")
    assert survey.look_alike(photos, (0, 1), Preprocessing(64)) is alike


def test_no_readable_picture_has_no_thumbnail(photos: PictureTable) -> None:
    readable = np.array([], dtype=np.int64)
    readable.flags.writeable = False  # as pandas gives it
    assert survey.thumbnails(photos, readable, 4, "squash") == []
