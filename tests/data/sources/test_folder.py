import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from tests.data.conftest import Write


def test_one_folder_a_class(write: Write, tmp_path: Path) -> None:
    for path in (
        "set/cat/b.PNG",
        "set/cat/a.jpg",
        "set/dog/deep/c.webp",
        "set/cat/.hidden.jpg",
        "set/.git/x.jpg",
    ):
        write(path)
    (tmp_path / "set/notes.txt").write_text("not a picture")
    (tmp_path / "set/dog/Thumbs.db").write_text("not a picture")
    table = read_source("folder", root=str(tmp_path / "set"))
    assert list(table.rows["path"]) == ["cat/a.jpg", "cat/b.PNG", "dog/deep/c.webp"]
    assert list(table.rows["label"]) == ["cat", "cat", "dog"]
    assert table.rows["split"].isna().all()
    assert table.rows["bytes"].iloc[0] == (tmp_path / "set/cat/a.jpg").stat().st_size
    assert table.name == "set"


def test_split_folders(write: Write, tmp_path: Path) -> None:
    for path in ("train/a/1.png", "train/b/2.png", "Validation/b/3.png", "test/a/4.png"):
        write(path)
    table = read_source("folder", root=str(tmp_path))
    assert list(table.rows["split"]) == ["train", "train", "val", "test"]
    assert table.classes == ["a", "b"]


def test_a_class_may_be_called_train(write: Write, tmp_path: Path) -> None:
    write("train/1.png")
    write("tram/1.png")
    table = read_source("folder", root=str(tmp_path))
    assert table.classes == ["train", "tram"]
    assert table.rows["split"].isna().all()


def test_names_as_people_give_them(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ["Imágenes de gatos/foto, 1 (copia)~.jpg", "犬 = 狗/[b]{c}.png", "it's #1 %/täst;&.webp"]
    for path in odd:
        write(f"home/photos (1), a=b/{path}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    table = read_source("folder", root="~/photos (1), a=b")
    assert sorted(table.rows["path"]) == sorted(odd)
    assert table.root is not None
    for path in odd:
        assert Preprocessing(8).read(table.root / path).shape == (3, 8, 8)


def test_a_linked_folder_is_followed(write: Write, tmp_path: Path) -> None:
    write("elsewhere/1.png")
    write("set/a/1.png")
    (tmp_path / "set/b").symlink_to(tmp_path / "elsewhere")
    assert list(read_source("folder", root=str(tmp_path / "set")).rows["path"]) == ["a/1.png", "b/1.png"]


def test_classes_further_down(write: Write, tmp_path: Path) -> None:
    """The cone shells as they came: a folder a region, below it one a species; a species may be of two regions."""
    for path in (
        "Pacific/dalli/1.jpg",
        "Atlantic/ventricosus/2.jpg",
        "Atlantic/ater/raw/3.jpg",
        "Mediterranean/ventricosus/4.jpg",
    ):
        write(f"shells/{path}")
    root = str(tmp_path / "shells")
    says = (
        r"data\.label_depth=1 \(3 classes: Atlantic, Mediterranean, Pacific\) or data\.label_depth=2 "
        r"\(3 classes: ater, dalli, ventricosus\) or data\.label_depth=3 \(1 class: raw, 3 pictures lie above\)"
    )
    with pytest.raises(BadInput, match=says):
        read_source("folder", root=root)
    assert read_source("folder", root=root, label_depth=1).classes == ["Atlantic", "Mediterranean", "Pacific"]
    table = read_source("folder", root=root, label_depth=2)
    assert table.classes == ["ater", "dalli", "ventricosus"]
    assert dict(zip(table.rows["path"], table.rows["label"], strict=True)) == {
        "Pacific/dalli/1.jpg": "dalli",
        "Atlantic/ventricosus/2.jpg": "ventricosus",
        "Atlantic/ater/raw/3.jpg": "ater",
        "Mediterranean/ventricosus/4.jpg": "ventricosus",
    }
    assert table.rows["folder_1"].tolist() == [path.partition("/")[0] for path in table.rows["path"]]
    with pytest.raises(BadInput, match=r"data\.label_depth=3: 3 pictures of .* such as Atlantic/ventricosus/2\.jpg"):
        read_source("folder", root=root, label_depth=3)
    with pytest.raises(BadInput, match="no folders 4 levels down"):
        read_source("folder", root=root, label_depth=4)


def test_depth_counts_below_train_and_val(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("train/North/a/1.png", "train/South/b/2.png", "val/South/a/3.png"):
        write(path)
    table = read_source("folder", root=str(tmp_path), label_depth=2)
    assert table.classes == ["a", "b"]
    assert table.rows["folder_1"].tolist() == ["North", "South", "South"]
    assert table.rows["split"].tolist() == ["train", "train", "val"]
    assert read_source("folder", root=str(tmp_path)).classes == ["North", "South"]
    assert "data.label_depth=2 (2 classes: a, b)" in caplog.text


def test_series_within_a_class_are_its_own(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("cat/1.png", "cat/2019/2.png", "dog/3.png", "dog/2019/4.png", "5.png"):
        write(path)
    table = read_source("folder", root=str(tmp_path))
    assert table.classes == ["cat", "dog"]
    assert len(table.rows) == 4
    assert "data.label_depth=1 is taken" in caplog.text
    assert table.unlisted == 1
    assert "left out: 1 (5.png)" in caplog.text


@given(
    st.lists(
        st.tuples(st.sampled_from("pq"), st.sampled_from(["", "a", "b"]), st.sampled_from(["", "x", "y"])),
        min_size=1, max_size=8,
    )
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_any_layout_is_read_in_full_or_refused(places: list[tuple[str, ...]]) -> None:
    """Whichever depth is said or taken, no picture is lost, and each is of its folder at that depth."""
    with TemporaryDirectory() as folder:
        files = {Path(*filter(None, place), f"{number}.png") for number, place in enumerate(places)}
        for file in files:
            (Path(folder) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / file).touch()
        for depth in (None, 1, 2, 3):
            try:
                rows = read_source("folder", root=folder, label_depth=depth).rows
            except BadInput:
                continue
            assert set(rows["path"]) == set(map(str, files))
            assert rows["label"].tolist() == [Path(path).parts[(depth or 1) - 1] for path in rows["path"]]
            first = {file.parts[0] for file in files}
            holding = {file.parts[0] for file in files if len(file.parts) == 2}
            assert depth or 2 * len(holding) >= len(first)


def missing(root: Path, write: Write) -> None: ...


def empty(root: Path, write: Write) -> None:
    root.mkdir()


def a_file(root: Path, write: Write) -> None:
    root.write_text("")


def one_class(root: Path, write: Write) -> None:
    write("set/cat/1.png")


def flat(root: Path, write: Write) -> None:
    write("set/1.png")


def no_pictures(root: Path, write: Write) -> None:
    (root / "cat").mkdir(parents=True)
    (root / "dog").mkdir()


def empty_class(root: Path, write: Write) -> None:
    one_class(root, write)
    (root / "dog").mkdir()


def circle(root: Path, write: Write) -> None:
    one_class(root, write)
    (root / "cat/again").symlink_to(root / "cat")
    write("set/dog/1.png")


def link_to_itself(root: Path, write: Write) -> None:
    one_class(root, write)
    (root / "dog").symlink_to(root / "dog")


def flat_test_folder(root: Path, write: Write) -> None:
    for path in ("set/train/cat/1.png", "set/train/dog/1.png", "set/test/1.png"):
        write(path)


def folder_beside_splits(root: Path, write: Write) -> None:
    for path in ("set/train/cat/1.png", "set/train/dog/1.png", "set/extra/1.png"):
        write(path)


def two_folders_for_a_split(root: Path, write: Write) -> None:
    for path in ("set/train/cat/1.png", "set/val/dog/1.png", "set/valid/dog/1.png"):
        write(path)


def not_utf8(root: Path, write: Write) -> None:
    one_class(root, write)
    (root / os.fsdecode(b"caf\xe9")).mkdir()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "there is no folder"),
        (empty, "set is empty"),
        (a_file, "is a file"),
        (one_class, "only one class, 'cat'"),
        (flat, "no class folders"),
        (no_pictures, "no pictures under"),
        (empty_class, "dog holds no pictures"),
        (circle, "again is a link"),
        (link_to_itself, "the link .*dog leads nowhere; mend or remove it"),
        (flat_test_folder, "test holds pictures but no class folders"),
        (folder_beside_splits, "extra holds pictures beside train"),
        (two_folders_for_a_split, "two folders for one split"),
        (not_utf8, "not valid UTF-8"),
    ],
)
def test_folders_that_will_not_do(make, says: str, write: Write, tmp_path: Path) -> None:
    make(tmp_path / "set", write)
    with pytest.raises(BadInput, match=says) as told:
        read_source("folder", root=str(tmp_path / "set"))
    assert str(tmp_path / "set") in str(told.value)
    assert "\n" not in str(told.value)


def test_what_has_no_usable_name_is_left_out_where_that_is_asked_for(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "set"
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"):
        write(f"set/{name}")
    write("set/odd/1.jpg").rename(root / "cat" / os.fsdecode(b"caf\xe9.jpg"))
    write("set/odd/1.jpg")
    (root / "odd").rename(root / os.fsdecode(b"\xe9t\xe9"))
    (root / "cat" / "itself.jpg").symlink_to(root / "cat" / "itself.jpg")
    (root / "unmounted").symlink_to(tmp_path / "nowhere")
    table = read_source("folder", root=str(root), on_unreadable="skip")
    assert table.classes == ["cat", "dog"]
    assert dict(zip(table.rows["path"], table.rows["bytes"] > 0, strict=True)) == {
        "cat/1.jpg": True, "cat/2.jpg": True, "cat/itself.jpg": False, "dog/1.jpg": True, "dog/2.jpg": True,
    }  # fmt: skip
    assert list(table.skipped.values()) == ["has a name that is not valid UTF-8"] * 2
    assert "the link" in caplog.text
    assert "unmounted leads nowhere and is left out" in caplog.text
    with pytest.raises(BadInput, match="unmounted leads nowhere"):
        read_source("folder", root=str(root))


def test_empty_class_folders_can_be_left_out(write: Write, tmp_path: Path) -> None:
    for path in ("set/cat/1.png", "set/eel/1.png"):
        write(path)
    (tmp_path / "set/dog").mkdir()
    table = read_source("folder", root=str(tmp_path / "set"), on_unreadable="skip")
    assert table.classes == ["cat", "eel"]
    assert table.empty_folders == ("dog",)


def test_a_folder_must_be_named() -> None:
    with pytest.raises(BadInput, match=r"data\.root"):
        read_source("folder")
