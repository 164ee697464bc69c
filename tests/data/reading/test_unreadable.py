"""Pictures that will not do, from the folder to the batches: named, or left out and remembered."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.data.digest import data_digest
from pipeline.data.reading import decoding
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.table import PictureTable

NAME = "cat/名前, 1 é = [x].jpg"


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, kind)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


SPOILT: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero bytes": (lambda: b"", "is empty"),
    "truncated": (lambda: encoded("JPEG")[:-100], "is damaged or cut short"),
    "a GIF among JPEGs": (lambda: encoded("GIF"), "is a GIF"),
    "a bomb": (bomb, "is too large"),
    "no picture": (lambda: b"<html>", "is not a picture"),
}


def spoil(photos: PictureTable, data: bytes) -> tuple[PictureTable, Path]:
    assert photos.root is not None
    file = photos.root / NAME
    file.write_bytes(data)
    return read_source("folder", root=str(photos.root)), file


def batches(table: PictureTable, on_unreadable: str = "skip", seed: int = 0, num_workers: int = 0) -> PictureBatches:
    return PictureBatches(
        table, np.arange(len(table.rows)), Preprocessing(16), batch_size=4, shuffle=True, seed=seed,
        on_unreadable=on_unreadable, num_workers=num_workers,
    )  # fmt: skip


def state(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in folder.rglob("*"))


@pytest.mark.parametrize("fault", SPOILT)
def test_it_is_named_or_left_out_and_nothing_is_touched(fault: str, photos: PictureTable) -> None:
    make, says = SPOILT[fault]
    table, file = spoil(photos, make())
    assert photos.root is not None
    before = state(photos.root)
    with pytest.raises(BadInput, match=says) as told:
        list(batches(table, "raise"))
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)
    loader = batches(table)
    assert sum(len(batch.labels) for batch in loader) == 11
    assert list(loader.skipped) == [str(file)]
    assert state(photos.root) == before


@pytest.mark.parametrize("spoilt", [[2], [1], [0], [0, 1], [0, 2]])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_batch_of_which_one_picture_is_left_joins_another_in_training(
    spoilt: list[int], num_workers: int, photos: PictureTable, caplog: pytest.LogCaptureFixture
) -> None:
    """As batch-norm fails on a single picture; of twelve in three batches, all but one of some are spoilt."""
    table, _ = spoil(photos, encoded("JPEG"))
    assert photos.root is not None
    whole = [batch.rows.tolist() for batch in batches(table)]
    gone = [row for place in spoilt for row in whole[place][1:]]
    for path in table.rows["path"][gone]:
        (photos.root / path).write_bytes(b"<html>")
    loader = batches(table, num_workers=num_workers)
    with caplog.at_level("INFO"):
        found = [batch for _ in range(2) for batch in loader][: len(list(loader))]
    assert all(len(batch.labels) > 1 for batch in found)
    assert [row for batch in found for row in batch.rows.tolist()] == [
        row for rows in whole for row in rows if row not in gone
    ]
    assert all(len(batch.rows) == len(batch.labels) == len(batch.inputs.pixels) for batch in found)
    assert caplog.text.count("joins") == 1


def test_one_picture_that_is_left_of_all_is_no_batch(photos: PictureTable) -> None:
    table, _ = spoil(photos, b"")
    assert photos.root is not None
    for path in table.rows["path"][1:]:
        (photos.root / path).write_bytes(b"<html>")
    assert list(batches(table)) == []


def test_the_next_run_does_not_open_it_and_goes_as_the_first(
    photos: PictureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, file = spoil(photos, b"")
    first = [batch for loader in [batches(table)] for batch in loader]
    opened: list[str] = []
    real = decoding._decode
    monkeypatch.setattr(decoding, "_decode", lambda data, side: (opened.append(data), real(data, side))[1])
    loader = batches(table)
    second = list(loader)
    assert len(opened) == 11
    assert b"" not in opened
    assert list(loader.skipped) == [str(file)]
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.inputs.pixels, other.inputs.pixels)
        assert all(torch.equal(a, b) for a, b in zip(one[1:3], other[1:3], strict=True))
    assert data_digest(table) == data_digest(read_source("folder", root=str(photos.root)))
    with pytest.raises(BadInput, match="is empty"):
        batches(table, "raise")  # known before any work
    assert len((cache_folder() / "unreadable-2.jsonl").read_text().splitlines()) == 1


def test_one_that_has_changed_is_tried_again(photos: PictureTable) -> None:
    table, file = spoil(photos, b"")
    list(batches(table))
    file.write_bytes(encoded("JPEG"))
    loader = batches(table, "raise")
    assert sum(len(batch.labels) for batch in loader) == 12
    file.write_bytes(b"x" * file.stat().st_size)
    os.utime(file, ns=(1, 1))
    assert sum(len(batch.labels) for batch in batches(table)) == 11


def test_one_of_the_same_size_and_time_is_tried_again(photos: PictureTable) -> None:
    table, file = spoil(photos, b"x" * len(encoded("JPEG")))
    facts = file.stat()
    list(batches(table))
    file.write_bytes(encoded("JPEG"))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert sum(len(batch.labels) for batch in batches(table, "raise")) == 12


def test_the_table_knows_it_by_one_name(photos: PictureTable) -> None:
    table, _ = spoil(photos, b"")
    list(batches(table))
    assert list(table.skipped) == [NAME]
    assert "is empty" in table.skipped[NAME]


def test_what_only_the_moment_is_to_blame_for_is_forgotten(photos: PictureTable) -> None:
    assert photos.root is not None
    file = photos.root / "cat" / "00.jpg"
    data = file.read_bytes()
    file.unlink()
    loader = batches(photos)
    list(loader)
    assert loader.skipped == {str(file): "is not there"}
    assert not (cache_folder() / "unreadable-2.jsonl").exists()
    file.write_bytes(data)
    assert not list(batches(photos).skipped)


def test_a_cache_that_is_damaged_or_cannot_be_written_does_no_harm(
    photos: PictureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, file = spoil(photos, b"")
    list(batches(table))
    with (cache_folder() / "unreadable-2.jsonl").open("ab") as memory:
        memory.write(b'{"path": "half\n[]\n\xff\n{"path": 1, "content": 0, "reason": ""}\n')
    loader = batches(table)
    list(loader)
    assert list(loader.skipped) == [str(file)]
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "taken"))
    loader = batches(table)
    list(loader)
    assert list(loader.skipped) == [str(file)]
