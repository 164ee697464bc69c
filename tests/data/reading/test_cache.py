import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.data.batch import Batch
from pipeline.data.reading.augmentation import build_augmentation
from pipeline.data.reading.cache import PictureCache, open_cache, size_of
from pipeline.data.reading.loading import PictureBatches, canvas
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.table import PictureTable

HOW = Preprocessing(16)


def opened(table: PictureTable, folder: Path, kind="disk", how=HOW, most_gb=1.0) -> PictureCache:
    cache = open_cache(kind, table, how, most_gb=most_gb, folder=folder)
    assert cache is not None
    return cache


def read(table: PictureTable, cache: PictureCache | None, **options) -> list[Batch]:
    rows = np.arange(len(table.rows))
    return list(PictureBatches(table, rows, HOW, batch_size=4, cache=cache, **options))


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip((x.inputs.pixels, x.labels, x.rows), (y.inputs.pixels, y.labels, y.rows), strict=True)
    )


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_pictures_are_the_same_and_are_decoded_once(
    photos: PictureTable, tmp_path: Path, kind: str, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read(photos, None)
    assert same(read(photos, opened(photos, tmp_path, kind), num_workers=num_workers), plain)
    again = opened(photos, tmp_path, kind)
    monkeypatch.setattr(Preprocessing, "read", lambda *_: pytest.fail("decoded again"))
    assert same(read(photos, again), plain)


def test_augmentation_starts_from_what_is_kept(photos: PictureTable, tmp_path: Path) -> None:
    recipe = build_augmentation("crop_jitter", 16)
    cache = opened(photos, tmp_path, how=canvas(HOW, recipe))
    assert cache.side > 16
    options = {"augmentation": recipe, "shuffle": True, "seed": 4}
    plain = read(photos, None, **options)
    for _ in range(2):
        assert same(read(photos, cache, **options), plain)


@pytest.mark.parametrize("damage", ["cut short", "deleted", "pixels changed"])
def test_a_damaged_file_is_made_again(photos: PictureTable, tmp_path: Path, damage: str) -> None:
    plain = read(photos, None)
    cache = opened(photos, tmp_path)
    read(photos, cache)
    data = bytearray(cache.file.read_bytes())
    match damage:
        case "cut short":
            cache.file.write_bytes(data[:-5])
        case "deleted":
            cache.file.unlink()
        case _:
            data[-1] ^= 255
            cache.file.write_bytes(data)
    again = opened(photos, tmp_path)
    assert same(read(photos, again), plain)
    assert again.get(10) is not None


def test_the_bound_holds(photos: PictureTable, tmp_path: Path) -> None:
    cache = opened(photos, tmp_path, most_gb=size_of(16, 5) / 1e9)
    assert cache.slots == 5
    assert same(read(photos, cache), read(photos, None))
    assert cache.get(4) is not None
    assert cache.get(5) is None
    assert cache.file.stat().st_size == size_of(16, 5)


def test_pictures_in_use_are_not_deleted_for_room(photos: PictureTable, tmp_path: Path) -> None:
    cache, bound = opened(photos, tmp_path), size_of(16, 15) / 1e9
    file = cache.file
    assert opened(photos, tmp_path, how=HOW.resized_to(8), most_gb=bound).slots == 11
    assert opened(photos, tmp_path, how=HOW.resized_to(15), most_gb=bound).slots == 4
    assert file.exists()
    del cache
    assert opened(photos, tmp_path, how=HOW.resized_to(15), most_gb=bound).slots == 11
    assert not file.exists()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_full_place_is_said_once_and_stops_nothing(
    photos: PictureTable, tmp_path: Path, num_workers: int, caplog: pytest.LogCaptureFixture,
    files_of_at_most: Callable[[int], AbstractContextManager[None]], capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    plain = read(photos, None)
    caches = [opened(photos, tmp_path / "kept") for _ in range(2)]
    with files_of_at_most(size_of(16, 6) + 1):
        for cache in caches:
            assert same(read(photos, cache, num_workers=num_workers), plain)
    assert (caplog.text + capfd.readouterr().err).count("no more pictures are cached in") == 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_file_that_lost_its_end_is_read_around(photos: PictureTable, tmp_path: Path, num_workers: int) -> None:
    """As where its place is full: what is mapped but not there would end the process by a bus error."""
    plain = read(photos, None)
    cache = opened(photos, tmp_path)
    read(photos, cache)
    assert cache.get(10) is not None
    os.truncate(cache.file, size_of(16, 2))
    assert cache.get(10) is None
    assert same(read(photos, cache, num_workers=num_workers), plain)


def test_memory_is_left_for_what_workers_hand_over(
    photos: PictureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=2 * size_of(16, 7) + 1)
    monkeypatch.setattr("pipeline.data.reading.cache.disk_usage", lambda _: free)
    monkeypatch.setattr("pipeline.data.reading.cache._memory_folder", lambda: tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    assert opened(photos, tmp_path, "memory").slots == 7


def test_an_edited_picture_is_read_anew(photos: PictureTable, tmp_path: Path) -> None:
    one = opened(photos, tmp_path)
    assert photos.root is not None
    file = photos.root / "cat" / "00.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    assert opened(photos, tmp_path).file != one.file


@pytest.mark.parametrize("kept", [True, False])
def test_unreadable_pictures_as_without_a_cache(photos: PictureTable, tmp_path: Path, kept: bool) -> None:
    assert photos.root is not None
    (photos.root / "cat" / "02.jpg").write_bytes(b"no picture")
    cache = opened(photos, tmp_path) if kept else None
    for _ in range(2):
        with pytest.raises(BadInput, match="is not a picture"):
            read(photos, cache)
        loader = PictureBatches(photos, np.arange(11), HOW, batch_size=4, cache=cache, on_unreadable="skip")
        assert sum(len(batch.labels) for batch in loader) == 10
        assert len(loader.skipped) == 1


def test_sets_in_memory_need_none(tmp_path: Path) -> None:
    assert open_cache("disk", read_source("digits"), HOW, most_gb=1, folder=tmp_path) is None
