import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.common.errors import BadInput
from pipeline.data import split_files
from pipeline.data.digest import data_digest
from pipeline.data.sources import read_source
from pipeline.data.split_files import keep_split, kept_split, read_split, write_split
from pipeline.data.splits import split_table
from pipeline.data.table import PictureTable
from tests.data.conftest import Write


@pytest.fixture
def odd(write: Write, tmp_path: Path) -> PictureTable:
    """Pictures whose names hold spaces, commas, quotes and other letters."""
    for number in range(8):
        write(f'photos/{"Grauer Reiher" if number < 4 else "犬, 狗"}/no "{number}".jpg 2.jpg')
    return read_source("folder", root=str(tmp_path / "photos"))


@pytest.mark.parametrize("target", ["mine.csv", "lists"])
def test_what_is_written_is_read_back(target: str, odd: PictureTable, tmp_path: Path) -> None:
    split = split_table(odd, val=0.25, test=0.25, seed=3)
    for _ in range(2):  # the same again does no harm
        write_split(split, tmp_path / target)
    assert data_digest(read_split(odd, tmp_path / target)) == data_digest(split)
    with pytest.raises(BadInput, match="holds another split"):
        write_split(split_table(odd, val=0.25, test=0.25, seed=4), tmp_path / target)
    assert data_digest(read_split(odd, tmp_path / target)) == data_digest(split)


@pytest.mark.parametrize("target", ["spilts/mine.csv", "spilts/mine"])
def test_no_folder_is_made_on_the_way(target: str, odd: PictureTable, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data\.split\.save: the folder .*spilts is not there"):
        write_split(split_table(odd, val=0.25, test=0.25), tmp_path / target)
    assert not (tmp_path / "spilts").exists()


def test_written_lists_are_a_data_set(odd: PictureTable, tmp_path: Path) -> None:
    split = split_table(odd, val=0.25, test=0.25)
    write_split(split, tmp_path / "lists")
    table = read_source("lists", root=str(odd.root), lists=str(tmp_path / "lists"))
    assert table.classes == split.classes
    assert dict(zip(table.rows["path"], table.rows["split"], strict=True)) == dict(
        zip(split.rows["path"], split.rows["split"], strict=True)
    )


def test_digits_too(tmp_path: Path) -> None:
    digits = split_table(read_source("digits"), val=0.1, test=0.2)
    write_split(digits, tmp_path / "lists")
    assert data_digest(read_split(read_source("digits"), tmp_path / "lists")) == data_digest(digits)


@pytest.mark.parametrize(("most_lines", "name"), [(8, "split.csv"), (7, "split.parquet")])
def test_what_a_run_keeps_is_read_back(
    most_lines: int, name: str, odd: PictureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_files, "_MOST_LINES", most_lines)
    split = split_table(odd, val=0.25, test=0.25, seed=3)
    file = keep_split(split, tmp_path)
    assert file == tmp_path / name
    assert data_digest(read_split(odd, file)) == data_digest(split)


def test_a_split_of_some_classes_is_read_back(write: Write, tmp_path: Path) -> None:
    """Those asked for, or those large enough: of the others it says nothing, and they come back as little."""
    for label, count in (("ant", 6), ("bee", 1), ("cat", 6), ("dog", 6)):
        for number in range(count):
            write(f"photos/{label}/{number}.png")
    table = read_source("folder", root=str(tmp_path / "photos"))
    split = split_table(table, val=0.2, test=0.2, small_classes="drop", seed=1)
    file = keep_split(split, tmp_path)
    assert data_digest(read_split(table, file, drop=True)) == data_digest(split)
    with pytest.raises(BadInput, match=r"gives no split to bee/0\.png"):
        read_split(table, file)
    some = table.with_classes(["cat", "dog"])
    again = read_split(some, file, among=table)
    assert again.rows["split"].tolist() == split.with_classes(["cat", "dog"]).rows["split"].tolist()
    with pytest.raises(BadInput, match=r"photos has no ant/0\.png"):
        read_split(some, file)
    (tmp_path / "photos/cat/new.png").write_bytes((tmp_path / "photos/cat/0.png").read_bytes())
    with pytest.raises(BadInput, match=r"gives no split to cat/new\.png"):
        read_split(read_source("folder", root=str(tmp_path / "photos")), file, drop=True)


def test_nothing_is_written_among_the_pictures(odd: PictureTable) -> None:
    assert odd.root is not None
    before = sorted(odd.root.rglob("*"))
    for target in (odd.root / "split.csv", odd.root / "new" / "lists", odd.root):
        with pytest.raises(BadInput, match=r"is inside data\.root"):
            write_split(split_table(odd, val=0.25, test=0), target)
    assert sorted(odd.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (None, "no file"),
        ("file,split\ncat/00.jpg,train\n", "no column 'path'"),
        ("path,split\ncat/00.jpg,trian\n", "no split 'trian'; did you mean train"),
        ("path,split\ncat/00.jpg,train\n", r"no split to cat/01\.jpg, .*\.\.\. \(10 pictures\)"),
        ("path,split\ncat/00.jpg,train\ncat/00.jpg,val\n", "more than once"),
        ("path,split\nbird/00.jpg,train\n", r"photos has no bird/00\.jpg"),
    ],
)
def test_files_that_will_not_do(lines: str | None, says: str, photos: PictureTable, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    if lines:
        file.write_text(lines)
    with pytest.raises(BadInput, match=says) as told:
        read_split(photos, file)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: [*lines, *lines[1:]], "names more than once"),
        (lambda lines: [lines[0], lines[1].rpartition(",")[0] + ",zz", *lines[2:]], "gives no digest"),
        (lambda lines: [lines[0], lines[1] + "00000", *lines[2:]], "gives no digest"),
        (lambda lines: [lines[0], lines[1].rpartition(",")[0] + ",", *lines[2:]], "gives no digest"),
    ],
    ids=["twice", "zz", "21 digits", "blank"],
)
def test_a_damaged_kept_split_is_refused_by_name(
    damage: Callable[[list[str]], list[str]], says: str, photos: PictureTable, tmp_path: Path
) -> None:
    file = keep_split(split_table(photos, val=0, test=0), tmp_path)
    assert kept_split(tmp_path) is not None
    file.write_text("\n".join(damage(file.read_text().splitlines())) + "\n")
    with pytest.raises(BadInput, match=rf"split\.csv {says}"):
        kept_split(tmp_path)


def test_a_place_that_cannot_be_written_is_named(odd: PictureTable, tmp_path: Path, monkeypatch) -> None:
    def full(file: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        BadInput, match=r"data\.split\.save: .*saved\.csv cannot be written \(No space left on device\)"
    ):
        write_split(odd, tmp_path / "saved.csv")
    assert not list(tmp_path.glob("*saved*"))


def test_an_old_kept_split_that_names_a_picture_twice_is_refused(odd: PictureTable, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("path,label,split\na.png,a,train\na.png,a,test\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"split\.csv names more than once a\.png"):
        kept_split(tmp_path)
