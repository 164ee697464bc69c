import pickle
import tempfile
from multiprocessing.util import get_temp_dir
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.common.atomic import OWN_FOLDERS
from pipeline.common.errors import BadInput
from pipeline.data.batch import Batch
from pipeline.data.reading.augmentation import build_augmentation
from pipeline.data.reading.loading import PictureBatches, Reader, Requests
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.table import PictureTable


def batches(table: PictureTable, **options) -> PictureBatches:
    settings = {"batch_size": 4, **options}
    return PictureBatches(table, np.arange(len(table.rows)), Preprocessing(16), **settings)


def training(table: PictureTable, **options) -> PictureBatches:
    return batches(table, augmentation=build_augmentation("crop_jitter", 16), shuffle=True, **options)


def by_row(read: list[Batch]) -> dict[int, torch.Tensor]:
    return {int(row): picture for batch in read for row, picture in zip(batch.rows, batch.inputs.pixels, strict=True)}


def test_every_picture_once_in_order(photos: PictureTable) -> None:
    loader = batches(photos)
    read = list(loader)
    assert len(read) == len(loader) == 3
    assert loader.n_pictures == 11
    assert torch.cat([batch.rows for batch in read]).tolist() == list(range(11))
    assert torch.cat([batch.labels for batch in read]).tolist() == photos.labels.tolist()
    assert read[0].inputs.pixels.shape == (4, 3, 16, 16)
    assert photos.root is not None
    expected = Preprocessing(16).read(photos.root / photos.rows["path"].iloc[5])
    assert torch.equal(read[1].inputs.pixels[1], expected)


def test_some_rows_only() -> None:
    loader = PictureBatches(read_source("digits"), np.array([3, 1000]), Preprocessing(8), batch_size=64)
    (batch,) = loader
    assert batch.rows.tolist() == [3, 1000]
    assert batch.labels.tolist() == [3, 1]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(photos: PictureTable, num_workers: int) -> None:
    alone, helped = (training(photos, seed=5, num_workers=n) for n in (0, num_workers))
    for epoch in range(2):
        alone.set_epoch(epoch)
        helped.set_epoch(epoch)
        for one, other in zip(alone, helped, strict=True):
            assert torch.equal(one.inputs.pixels, other.inputs.pixels)
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.rows, other.rows)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("spoilt", [(), ("cat/02", "cat/04", "dog/01"), ("cat/00", "cat/01", "cat/02", "cat/03")])
def test_a_pass_can_start_where_another_ended(photos: PictureTable, num_workers: int, spoilt: tuple[str, ...]) -> None:
    """Also where batches lack pictures, are joined or fall out."""
    assert photos.root is not None
    for name in spoilt:
        for file in photos.root.glob(f"{name}*"):
            file.write_bytes(b"not a picture")

    def read(start: int = 0) -> list[Batch]:
        loader = training(photos, batch_size=2, num_workers=num_workers, on_unreadable="skip")
        loader.set_epoch(3, start)
        return list(loader)

    whole = read()
    for number, done in enumerate(whole, start=1):
        rest = read(done.end)
        assert [one.rows.tolist() for one in rest] == [one.rows.tolist() for one in whole[number:]]
        assert [one.end for one in rest] == [one.end for one in whole[number:]]
        for one, other in zip(rest, whole[number:], strict=True):
            assert torch.equal(one.inputs.pixels, other.inputs.pixels)


def test_seed_and_epoch_decide_order_and_chance(photos: PictureTable) -> None:
    def read(seed: int, epoch: int) -> list[Batch]:
        loader = training(photos, seed=seed)
        loader.set_epoch(epoch)
        return list(loader)

    def rows(some: list[Batch]) -> list[int]:
        return torch.cat([batch.rows for batch in some]).tolist()

    first, again, later, other = read(1, 1), read(1, 1), read(1, 2), read(2, 1)
    assert rows(first) == rows(again)
    assert rows(first) != rows(later)
    assert rows(first) != rows(other)
    same, third = by_row(again), by_row(later)
    assert all(torch.equal(picture, same[row]) for row, picture in by_row(first).items())
    assert not any(torch.equal(picture, third[row]) for row, picture in by_row(first).items())


def test_a_pictures_chance_does_not_depend_on_the_batch_or_the_other_pictures(photos: PictureTable) -> None:
    all_of_them = by_row(list(training(photos, batch_size=4)))
    fewer = PictureBatches(
        photos, np.array([2, 7, 8]), Preprocessing(16), batch_size=2,
        augmentation=build_augmentation("crop_jitter", 16),
    )  # fmt: skip
    assert all(torch.equal(picture, all_of_them[row]) for row, picture in by_row(list(fewer)).items())


def test_the_global_generator_is_left_alone(photos: PictureTable) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    list(training(photos))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 3]), (5, [5, 6]), (10, [11]), (1, [1] * 11), (99, [11])])
def test_no_last_training_batch_of_one(photos: PictureTable, batch_size: int, sizes: list[int]) -> None:
    loader = training(photos, batch_size=batch_size)
    assert [len(batch.labels) for batch in loader] == sizes
    assert len(loader) == len(sizes)


def test_no_pictures_no_batches(photos: PictureTable) -> None:
    loader = PictureBatches(photos, np.array([], dtype=np.int64), Preprocessing(16), batch_size=4)
    assert len(loader) == len(list(loader)) == 0


@pytest.fixture
def spoilt(photos: PictureTable) -> tuple[PictureTable, Path]:
    assert photos.root is not None
    file = photos.root / "cat" / "02.jpg"
    file.write_bytes(b"not a picture")
    return photos, file


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_picture_that_is_none_stops(spoilt: tuple[PictureTable, Path], num_workers: int) -> None:
    table, file = spoilt
    with pytest.raises(BadInput, match=r"is not a picture.*data\.on_unreadable=skip") as told:
        list(batches(table, num_workers=num_workers))
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_or_is_left_out_and_noted(spoilt: tuple[PictureTable, Path], num_workers: int) -> None:
    table, file = spoilt
    loader = batches(table, num_workers=num_workers, on_unreadable="skip")
    read = list(loader)
    assert sorted(by_row(read)) == [0, 1, *range(3, 11)]
    assert torch.cat([batch.labels for batch in read]).tolist() == np.delete(table.labels, 2).tolist()
    assert list(loader.skipped) == [str(file)]
    assert "is not a picture" in loader.skipped[str(file)]


def test_readers_and_requests_can_be_sent_to_new_processes(photos: PictureTable) -> None:
    reader = Reader(Preprocessing(16), build_augmentation("trivial", 16))
    request = next(iter(Requests(photos, np.arange(11), batch_size=4, shuffle=True, seed=0)))
    batch, unreadable, cache_full = pickle.loads(pickle.dumps(reader))[pickle.loads(pickle.dumps(request))]
    assert torch.equal(batch.inputs.pixels, reader[request][0].inputs.pixels)
    assert not unreadable
    assert not cache_full


def test_helpers_read_in_a_process_of_joblibs_too(photos: PictureTable) -> None:
    """Its default way to start processes is its own, by which none of PyTorch's can be started."""
    joblib = pytest.importorskip("joblib")
    read = joblib.Parallel(n_jobs=2)(joblib.delayed(_read_by_two)(photos) for _ in range(2))
    assert read == [len(photos.rows)] * 2


def _read_by_two(table: PictureTable) -> int:
    made = PictureBatches(table, np.arange(len(table.rows)), Preprocessing(16), batch_size=4, num_workers=2)
    return sum(len(batch.rows) for batch in made)


def test_processes_pass_pictures_through_a_folder_that_the_next_command_clears(photos: PictureTable) -> None:
    assert _read_by_two(photos)
    assert Path(get_temp_dir()).name.startswith(OWN_FOLDERS)


def test_processes_that_would_hang_for_a_long_tmpdir_are_not_started(
    photos: PictureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    with pytest.raises(BadInput, match=r"TMPDIR=.* is too long a path .*trainer\.num_workers=0"):
        batches(photos, num_workers=2)
    assert len(batches(photos, num_workers=0))
