from pathlib import Path

import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.files import write_csv
from pipeline.data.sources import read_source
from pipeline.data.splits import split_table
from pipeline.data.table import PictureTable
from tests.data.conftest import Write

ROWS = [("a/1.jpg", "heron", "train"), ("a/2.jpg", "Héron cendré", "Validation"), ("b, c/3.jpg", "heron", "")]


@pytest.fixture
def pictures(write: Write, tmp_path: Path) -> Path:
    for path, _, _ in ROWS:
        write(path)
    return tmp_path


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["path", "label", "split"]).assign(weight=[1.5, None, 2], place=["x", "y", ""])


def read(folder: Path, text: str | bytes, name: str = "list.csv", **options) -> PictureTable:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source("table", file=str(folder / name), **options)


@pytest.mark.parametrize("form", ["csv", "semicolons", "tsv", "parquet", "utf-16", "with a mark"])
def test_each_form_gives_the_same_table(form: str, pictures: Path) -> None:
    file = pictures / {"tsv": "list.tsv", "parquet": "list.parquet"}.get(form, "list.csv")
    if form == "parquet":
        frame().to_parquet(file)
    else:
        separator = {"semicolons": ";", "tsv": "\t"}.get(form, ",")
        encoding = {"utf-16": "utf-16", "with a mark": "utf-8-sig"}.get(form, "utf-8")
        frame().to_csv(file, index=False, sep=separator, encoding=encoding)
    table = read_source("table", file=str(file))
    assert table.rows["path"].tolist() == [path for path, _, _ in ROWS]
    assert table.rows["label"].tolist() == ["heron", "Héron cendré", "heron"]
    assert table.classes == ["Héron cendré", "heron"]
    assert table.rows["split"].astype(object).where(table.rows["split"].notna(), None).tolist() == [
        "train", "val", None,
    ]  # fmt: skip
    assert table.rows["weight"].sum() == 3.5
    assert table.rows["bytes"].iloc[0] == (pictures / "a/1.jpg").stat().st_size
    assert table.name == "list"


def test_columns_by_other_names_and_pictures_elsewhere(write: Write, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write(f"photos/{number}.png")
    (tmp_path / "lists").mkdir()
    absolute = tmp_path / "photos" / "10.png"
    text = f"file,species,label\n1.png,10,x\n./2.png, 9 ,y\n{absolute},10,z\n"
    table = read(tmp_path / "lists", text, root=str(tmp_path / "photos"), path_column="file", label_column="species")
    assert table.rows["path"].tolist() == ["1.png", "2.png", "10.png"]
    assert table.classes == ["9", "10"]
    assert table.rows["label_given"].tolist() == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"path,label\na/1.jpg,Gr\xe4ser\n", r"line 2 of .*list\.csv is not utf-8; .*data\.encoding=cp1252"),
        ("path,label\na/1.jpg,x\n".encode("utf-16-le"), "its encoding is not utf-8"),
        ("path,label\na/1.jpg,Gr\ufffdser\n", "line 2 .* a letter lost"),
        ("", "is empty"),
        ("file,label\na/1.jpg,x\n", r"data\.path_column: .* no column 'path'"),
        ("path,lable\na/1.jpg,x\n", "did you mean lable"),
        ("path,label\nb, c/3.jpg,x\n", 'in "quotes"'),
        ("path,label\na/1.jpg,x\na/2.jpg,x\n", "only one class, 'x'"),
        ("path,label,split\na/1.jpg,x,trian\na/2.jpg,y,val\n", "no split 'trian'; did you mean train"),
        ("path,label\na/1.jpg,cat  tail\na/2.jpg, Cat tail\n", "'Cat tail' and 'cat  tail' differ only by case"),
        ("path,label,label\na/1.jpg,x,y\na/2.jpg,y,x\n", "two columns are called 'label'; rename one of them"),
        ("path,label\na/1.jpg,cafe\na/2.jpg,Caf\u00e9\n", "'Café' and 'cafe' differ only by case, accents or spaces"),
    ],
)
def test_tables_that_will_not_do(text: str | bytes, says: str, pictures: Path) -> None:
    with pytest.raises(BadInput, match=says) as told:
        read(pictures, text)
    assert "\n" not in str(told.value)


def test_an_encoding_that_is_said(pictures: Path) -> None:
    latin = "path,label\na/1.jpg,Gräser\na/2.jpg,Moose\n".encode("cp1252")
    assert read(pictures, latin, encoding="cp1252").classes == ["Gräser", "Moose"]
    with pytest.raises(BadInput, match="no encoding is called 'latin-x'"):
        read(pictures, latin, encoding="latin-x")
    with pytest.raises(BadInput, match="not ascii"):
        read(pictures, latin, encoding="ascii")


def test_a_parquet_file_that_is_none(pictures: Path) -> None:
    with pytest.raises(BadInput, match="no whole Parquet file"):
        read(pictures, "path,label", name="list.parquet")


GOOD = "a/1.jpg,x\na/2.jpg,y\n"
BAD_ROWS = {
    "a/2.jpg,x": r"a/2\.jpg has the labels x and y",
    "b, c/3.jpg,": r"3\.jpg has no label",
    "b, c/3.jpg,  ": r"3\.jpg has no label",
    ",x": "row 3 a row without a path",
    "../out.jpg,x": r"\.\./out\.jpg is outside data\.root",
    "/etc/hosts,x": r"is outside data\.root",
    "a/4.jpg,x": r"a/4\.jpg is not there",
    "a,x": "a is a folder",
    "circle.jpg,x": r"circle\.jpg cannot be followed",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row_stops_or_is_left_out(row: str, pictures: Path) -> None:
    (pictures / "circle.jpg").symlink_to(pictures / "circle.jpg")
    path, _, label = row.rpartition(",")
    text = f'path,label\n{GOOD}"{path}",{label}\nb.jpg,y\n'
    (pictures / "b.jpg").write_bytes(b"")  # a picture without content is there: named when it is met
    with pytest.raises(BadInput, match=BAD_ROWS[row]) as told:
        read(pictures, text)
    assert "\n" not in str(told.value)
    assert "data.on_unreadable=skip" in str(told.value)
    if path == "a/2.jpg":
        text += '"b, c/3.jpg",x\n'
    table = read(pictures, text, on_unreadable="skip")
    assert len(table.skipped) == 1
    assert "b.jpg" in table.rows["path"].tolist()
    assert path not in table.rows["path"].tolist()
    assert len(table.rows) == 3


def test_the_first_five_and_how_many(pictures: Path) -> None:
    lost = "".join(f"lost/{number}.jpg,x\n" for number in range(12))
    with pytest.raises(BadInput, match=r"lost/4\.jpg is not there, \.\.\. \(12 such pictures\)") as told:
        read(pictures, f"path,label\n{GOOD}{lost}")
    assert "lost/5" not in str(told.value)


def test_a_line_that_is_repeated_counts_once(pictures: Path) -> None:
    assert len(read(pictures, f"path,label\n{GOOD}{GOOD}a/./1.jpg,x\n").rows) == 2
    with pytest.raises(BadInput, match="is in the splits train and val"):
        read(pictures, "path,label,split\na/1.jpg,x,train\na/1.jpg,x,val\n")


def test_names_that_are_alike_are_kept_apart_when_told_to(pictures: Path) -> None:
    table = read(pictures, "path,label\na/1.jpg,A\na/2.jpg,a\n", on_unreadable="skip")
    assert table.classes == ["A", "a"]


@pytest.mark.parametrize("header", ["path ,path,label", "path,label,site ,site"])
def test_two_columns_of_one_title_are_told(header: str, pictures: Path) -> None:
    line = ",".join(["a/1.jpg"] * len(header.split(",")))
    with pytest.raises(BadInput, match=r"two columns are called '(path|site)'"):
        read(pictures, f"{header}\n{line}\n")


@pytest.mark.parametrize("column", ["path", "label", "split"])
def test_a_column_of_lists_is_told(column: str, pictures: Path) -> None:
    frame().assign(**{column: [["x"], ["y"], ["x"]]}).to_parquet(pictures / "list.parquet")
    with pytest.raises(BadInput, match=f"the column '{column}' holds lists or structures"):
        read_source("table", file=str(pictures / "list.parquet"))


@pytest.mark.parametrize("cells", [[["x"], ["y"], ["x"]], [{"a": 1}, {"a": 2}, {"a": 1}]])
def test_a_further_column_of_lists_is_kept_but_groups_nothing(cells: list, pictures: Path) -> None:
    frame().assign(site=cells, split=None).to_parquet(pictures / "list.parquet")
    table = read_source("table", file=str(pictures / "list.parquet"))
    with pytest.raises(BadInput, match=r"data\.split\.group: .*'site' holds lists or structures"):
        split_table(table, val=0.2, test=0.2, group="site")


def test_texts_that_were_guarded_from_spreadsheets_are_read_as_they_were(write: Write, tmp_path: Path) -> None:
    for name in ("=1.png", "-2.png", "3.png", "'=4.png"):
        write(f"photos/{name}")
    listed = {"path": ["=1.png", "-2.png", "3.png"], "label": ["@heron", "+auk", "auk"]}
    write_csv(pd.DataFrame(listed), tmp_path / "photos" / "kept.csv")
    table = read_source("table", file=str(tmp_path / "photos" / "kept.csv"))
    assert table.rows["path"].tolist() == listed["path"]
    assert table.rows["label"].tolist() == listed["label"]
    own = read(tmp_path / "photos", "path,label\n'=4.png,'=a\n3.png,b\n")  # a name that does begin so
    assert own.rows["path"].tolist() == ["'=4.png", "3.png"]
    assert own.classes == ["'=a", "b"]
