"""Pictures in tars are those of their folder; tars that will not do are told of in a line."""

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.data.checks import check_files
from pipeline.data.digest import content_digest, data_digest
from pipeline.data.members import Member
from pipeline.data.reading.decoding import UnreadablePicture, read_file, upright_size
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.survey.duplicates import leaks
from pipeline.data.table import PictureTable
from tests.data.conftest import Write

Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Write a tar in `shards` of members: name -> bytes, text, or a folder's file."""

    def _pack(tar: str, members: dict[str, bytes | str | Path]) -> Path:
        file = tmp_path / "shards" / tar
        file.parent.mkdir(exist_ok=True)
        with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as opened:
            for name, what in members.items():
                data = what.read_bytes() if isinstance(what, Path) else what.encode() if isinstance(what, str) else what
                one = tarfile.TarInfo(name)
                one.size = len(data)
                opened.addfile(one, io.BytesIO(data))
        return file

    return _pack


@pytest.fixture
def shards(photos: PictureTable, pack: Pack) -> Path:
    """The photographs in two tars, out of order."""
    assert photos.root is not None
    files = [photos.root / path for path in photos.rows["path"]]
    for number in range(2):
        pack(f"{number}.tar", {f"./{file.relative_to(photos.root)}": file for file in files[number::2][::-1]})
    return pack("0.tar", {f"./{file.relative_to(photos.root)}": file for file in files[::2][::-1]}).parent


def batches(table: PictureTable, on_unreadable: str = "raise") -> PictureBatches:
    rows = np.arange(len(table.rows))
    return PictureBatches(table, rows, Preprocessing(16), batch_size=4, shuffle=True, on_unreadable=on_unreadable)  # type: ignore[arg-type]


def test_they_are_those_of_the_folder(photos: PictureTable, shards: Path) -> None:
    table = read_source("shards", root=str(shards), name="photos")
    rows = np.arange(len(table.rows))
    same = ["path", "label", "split", "bytes"]
    pd.testing.assert_frame_equal(table.rows[same], photos.rows[same])
    assert table.further == []
    assert data_digest(table) == data_digest(photos)
    assert content_digest(table, rows) == content_digest(photos, rows)
    for one, other in zip(batches(table), batches(photos), strict=True):
        assert torch.equal(one.inputs.pixels, other.inputs.pixels)
    part = table.take(np.array([9, 3]))
    expected = [read_file(one) for one in photos.sources(np.array([3, 9]))]
    assert [read_file(one) for one in part.sources(np.array([1, 0]))] == expected
    (first,) = table.sources(np.array([0]))
    assert upright_size(first) == (40, 30)
    assert pickle.loads(pickle.dumps(first)).read() == first.read()
    twice = table.take(np.array([0, 0, *range(1, 11)]))
    splits = pd.Categorical(["train", "test"] + ["train"] * 10, photos.rows["split"].cat.categories)
    copied = twice.rows.assign(split=splits, path=["a.jpg", *table.rows["path"]])
    assert leaks(twice.with_rows(copied))["other_path"].tolist() == ["cat/00.jpg"]


def test_a_table_names_pictures_in_tars(photos: PictureTable, shards: Path, tmp_path: Path) -> None:
    photos.rows[["path", "label"]].assign(region="here").to_csv(tmp_path / "photos.csv", index=False)
    table = read_source("table", file=str(tmp_path / "photos.csv"), root=str(shards))
    assert data_digest(table) == data_digest(photos)
    assert table.further == ["region"]
    (tmp_path / "photos.csv").write_text("path,label\ncat/00.jpg,cat\ncat/99.jpg,cat\ndog/06.jpg,dog\n")
    with pytest.raises(BadInput, match=r"cat/99\.jpg is in no tar of that folder"):
        read_source("table", file=str(tmp_path / "photos.csv"), root=str(shards))


def test_what_stands_beside_a_picture_is_its_class(photos: PictureTable, pack: Pack) -> None:
    jpeg = photos.sources(np.array([0]))[0]
    picture = Path(jpeg)
    pack("set-train-0000.tar", {"a.jpg": picture, "a.cls": "10\n", "b.jpg": picture, "b.json": '{"label": 2, "x": 1}'})
    beside = {"c.json": '{"label": "2"}', "c.cls": "\ufeff10", "notes.json": "{}{}", "a.json": '["a camera\'s"]'}
    root = pack("set-val-0000.tar", beside | {"./x/../c.jpg": picture}).parent
    (root / "unpacked.tar").mkdir()
    rows = read_source("shards", root=str(root)).rows
    assert rows["path"].tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert rows["label"].tolist() == ["10", "2", "10"]
    assert rows["split"].tolist() == ["train", "train", "val"]
    assert rows["label"].cat.categories.tolist() == ["2", "10"]


def test_a_tar_is_looked_through_once_while_it_stays(
    shards: Path, pack: Pack, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        read_source("shards", root=str(shards))
        read_source("shards", root=str(shards))
        assert caplog.text.count("looking through 2 tars once") == 1
        pack("1.tar", {"cat/x.jpg": b"", "dog/y.jpg": b"x"})
        table = read_source("shards", root=str(shards))
    assert "looking through 1 tar once" in caplog.text
    with pytest.raises(BadInput, match=r"cat/x\.jpg is empty"):
        check_files(table)
    written = (shards / "1.tar").stat().st_mtime_ns
    for kept in (cache_folder() / "tars").glob("*.parquet"):
        kept.write_bytes(b"")
    pack("1.tar", {"cat/z.jpg": b"", "dog/y.jpg": b"x"})  # of the same size
    os.utime(shards / "1.tar", ns=(written, written))
    assert "cat/z.jpg" in read_source("shards", root=str(shards)).rows["path"].tolist()


PICTURE: dict[str, bytes | str] = {"cat/1.jpg": b"x" * 600, "dog/2.jpg": b"y"}
TARS: dict[str, tuple[Callable[[Path, Pack], object], str]] = {
    "cut short": (lambda file, _: file.write_bytes(file.read_bytes()[:900]), "no whole tar"),
    "cut between members": (lambda file, _: file.write_bytes(file.read_bytes()[:1536]), "or damaged at byte 1,536"),
    "damaged": (lambda file, _: file.write_bytes(file.read_bytes()[:1536] + b"z" * 5000), "damaged at byte 1,536"),
    "two in one": (lambda file, _: file.write_bytes(file.read_bytes() * 2), "cut short or damaged at byte 2,560"),
    "compressed": (lambda file, _: file.write_bytes(gzip.compress(file.read_bytes())), r"0\.tar is compressed"),
    "compressed by its name": (lambda file, _: file.rename(file.with_name("0.tar.gz")), r"0\.tar\.gz is compressed"),
    "no tar": (lambda file, _: file.unlink(), "holds no .tar"),
    "empty": (lambda file, _: file.write_bytes(b""), "no whole tar"),
    "a name twice": (lambda _, pack: pack("1.tar", {"cat/1.jpg": b""}), r"cat/1\.jpg stands 2 times in 0\.tar"),
    "no class": (lambda _, pack: pack("1.tar", {"3.jpg": b""}), r"3\.jpg has no label"),
    "classes of some": (lambda _, pack: pack("1.tar", {"3.jpg": b"", "3.cls": "fox"}), r"cat/1\.jpg has no label"),
    "deeper": (lambda _, pack: pack("1.tar", {"a/fox/3.jpg": b""}), "folders in folders"),
    "broken JSON": (lambda _, pack: pack("1.tar", {"3.jpg": b"", "3.json": "{"}), r"3\.json in .*1\.tar says no class"),
    "not of this folder": (lambda _, pack: pack("1.tar", {"../cat/3.jpg": b"", "3.cls": "cat"}), r"\(\.\./cat\)"),
    "a link to nothing": (lambda file, _: file.with_name("1.tar").symlink_to("gone"), r"1\.tar cannot be followed"),
    "a pipe": (lambda file, _: os.mkfifo(file.with_name("1.tar")), r"1\.tar is not a file but a pipe"),
    "no picture": (lambda _, pack: pack("0.tar", {"read.me": ""}), "hold no pictures"),
}  # fmt: skip


@pytest.mark.parametrize("fault", TARS)
def test_tars_that_will_not_do(fault: str, pack: Pack) -> None:
    spoil, says = TARS[fault]
    file = pack("0.tar", PICTURE)
    spoil(file, pack)
    with pytest.raises(BadInput, match=says) as told:
        read_source("shards", root=str(file.parent))
    assert "\n" not in str(told.value)


def test_a_link_in_a_tar(pack: Pack) -> None:
    file = pack("0.tar", PICTURE)
    with tarfile.open(file, "a") as opened:
        one = tarfile.TarInfo("dog/3.jpg")
        one.type, one.linkname = tarfile.LNKTYPE, "dog/2.jpg"
        opened.addfile(one)
    with pytest.raises(BadInput, match=r"dog/3\.jpg in .* is a link"):
        read_source("shards", root=str(file.parent))


def test_a_damaged_picture_is_named_and_remembered(photos: PictureTable, shards: Path, write: Write) -> None:
    broken = read_source("shards", root=str(shards)).sources(np.array([2]))[0]
    assert isinstance(broken, Member)
    with Path(broken.tar).open("r+b") as file:
        file.seek(broken.offset)
        file.write(b"\0" * 40)
    table = read_source("shards", root=str(shards))
    with pytest.raises(BadInput, match=r"cat/02\.jpg is not a picture"):
        list(batches(table))
    for _ in range(2):
        loader = batches(table, "skip")
        assert sum(len(batch.labels) for batch in loader) == 10
        assert list(loader.skipped) == [str(broken)]
    with pytest.raises(BadInput, match=r"cat/02\.jpg is not a picture"):
        batches(table)  # known before any work


def test_a_tar_replaced_meanwhile(shards: Path, pack: Pack) -> None:
    table = read_source("shards", root=str(shards))
    of_first = np.flatnonzero((table.rows["tar"] == "0.tar").to_numpy())
    one = table.sources(of_first)[0]
    data = read_file(one)
    held = (shards / "0.tar").read_bytes()
    (shards / "0.tar").rename(shards / "old")
    (shards / "0.tar").write_bytes(held)
    assert read_file(one) == data
    (shards / "new").write_bytes(held.replace(data, data[::-1]))
    (shards / "new").rename(shards / "0.tar")
    again = read_source("shards", root=str(shards)).sources(of_first)[0]
    assert read_file(again) == data[::-1]  # its header is the same
    (shards / "0.tar").unlink()
    pack("0.tar", PICTURE)
    with pytest.raises(UnreadablePicture, match=r"0\.tar, which was changed meanwhile") as told:
        read_file(pickle.loads(pickle.dumps(Member(one, one.tar, one.offset + 512, one.length, one.header))))
    assert not told.value.lasting
