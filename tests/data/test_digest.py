import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

import pipeline.data.digest as digest_module
from pipeline.common.cache_folder import cache_folder
from pipeline.data import contents
from pipeline.data.digest import class_counts, class_weights, data_digest, picture_digests, view_identities
from pipeline.data.sources import read_source
from pipeline.data.splits import split_table
from pipeline.data.table import PictureTable
from tests.data.conftest import Write


def test_the_fingerprint_is_of_what_is_in_the_set_not_of_where_it_lies(photos: PictureTable, tmp_path: Path) -> None:
    assert photos.root is not None
    shutil.copytree(photos.root, tmp_path / "moved")
    assert data_digest(read_source("folder", root=str(tmp_path / "moved"))) == data_digest(photos)
    without_sizes = photos.with_rows(photos.rows.drop(columns="bytes"))
    assert data_digest(without_sizes) == data_digest(photos)


def test_the_fingerprint_changes_with_every_part(photos: PictureTable, write: Write) -> None:
    relabelled = photos.rows.assign(label=photos.rows["label"].cat.rename_categories({"cat": "dog", "dog": "cat"}))
    split = split_table(photos, val=0.2, test=0.2)
    digests = [data_digest(photos), data_digest(photos.with_rows(relabelled)), data_digest(split)]
    file = write("photos/cat/00.jpg", size=(80, 60))
    assert photos.root is not None
    digests.append(data_digest(read_source("folder", root=str(photos.root))))
    file.unlink()
    digests.append(data_digest(read_source("folder", root=str(photos.root))))
    assert len(set(digests)) == 5


def changed(file: Path) -> None:
    """Other bytes in a file of the same size and time of writing."""
    facts, data = file.stat(), file.read_bytes()
    file.write_bytes(data[:-3] + bytes(255 - byte for byte in data[-3:]))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert file.stat().st_mtime_ns == facts.st_mtime_ns


def test_what_changed_at_equal_size_and_time_is_seen(photos: PictureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_YOUNG", -(10**18))  # remember files at once
    assert photos.root is not None
    rows = np.arange(len(photos.rows))
    digest, digests = data_digest(photos), picture_digests(photos, rows)
    changed(photos.root / photos.rows["path"][3])
    assert data_digest(photos) != digest
    assert np.flatnonzero(picture_digests(photos, rows) != digests).tolist() == [3]


def test_pictures_are_known_wherever_they_lie(photos: PictureTable, tmp_path: Path) -> None:
    assert photos.root is not None
    rows = np.arange(len(photos.rows))
    digests = picture_digests(photos, rows)
    photos.root.rename(tmp_path / "moved")
    moved = read_source("folder", root=str(tmp_path / "moved"))
    np.testing.assert_array_equal(picture_digests(moved, rows), digests)


def test_files_are_read_once_whatever_became_of_the_memory(
    photos: PictureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_YOUNG", -(10**18))
    rows = np.arange(len(photos.rows))
    digests = picture_digests(photos, rows)
    read: list[str] = []
    real = contents._digest
    monkeypatch.setattr(contents, "_digest", lambda path: (read.append(path), real(path))[1])
    memo = cache_folder() / "contents-1.memo"
    whole = memo.read_bytes()
    for stored, unknown in ((whole, 0), (whole[:-20], 1), (b"\0" * len(whole), 11), (b"x", 11)):
        memo.write_bytes(stored)
        for expected in (unknown, 0):
            contents._memory.cache_clear()  # as another process begins
            read.clear()
            np.testing.assert_array_equal(picture_digests(photos, rows), digests)
            assert len(read) == expected


def test_a_memory_that_cannot_be_written_does_no_harm(
    photos: PictureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = data_digest(photos)
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "taken"))
    assert data_digest(photos) == digest


def test_a_set_too_large_to_be_read_through(photos: PictureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_module, "MOST_FILES", 5)
    monkeypatch.setattr(contents, "_digest", lambda *_: pytest.fail("read"))
    assert photos.root is not None
    rows = np.arange(len(photos.rows))
    before = picture_digests(photos, rows)
    assert not data_digest(photos).startswith(digest_module.CONTENT_FORM)
    changed(photos.root / photos.rows["path"][3])
    assert np.flatnonzero(picture_digests(photos, rows) != before).tolist() == [3]


def test_copies_have_an_identity_each() -> None:
    digests = np.array([5, 7, 5, 5, 9], np.uint64)
    identities = view_identities(digests)
    assert len(set(identities.tolist())) == 5
    assert identities[[0, 1, 4]].tolist() == [5, 7, 9]


def test_the_fingerprint_of_pixels() -> None:
    digits = read_source("digits")
    assert digits.pixels is not None
    other = digits.pixels.copy()
    other[5, 0, 0, 0] += 1
    assert data_digest(replace(digits, pixels=other)) != data_digest(digits)


def test_counts_show_empty_places(photos: PictureTable) -> None:
    counts = class_counts(split_table(photos, val=0.2, test=0))
    assert counts.loc["cat"].to_dict() == {"train": 5, "val": 1, "test": 0}


@given(st.lists(st.integers(0, 5), min_size=1))
def test_weights_are_scikit_learns_balanced(labels: list[int]) -> None:
    seen = np.unique(labels)
    weights = class_weights(np.array(labels), 6)
    np.testing.assert_allclose(weights[seen], compute_class_weight("balanced", classes=seen, y=labels))
    assert np.delete(weights, seen).sum() == 0
