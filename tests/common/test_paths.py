import os
from pathlib import Path

import pytest

from pipeline.cli.quoting import quote_path
from pipeline.commands.compare import checked_output
from pipeline.commands.predict import check_output, find_pictures
from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.data.files import existing
from pipeline.data.split_files import read_split, write_split
from pipeline.models.weights import read_state


def test_homes_are_filled_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a", "x") == Path("/home/me/a")
    assert expanded("a/~b", "x") == Path("a/~b")


@pytest.mark.parametrize(
    "use",
    [
        lambda path: existing(path, "data.root", "folder", folder=True),
        find_pictures,
        check_output,
        lambda path: checked_output(f"{path}.html"),
        lambda path: read_state(Path(path)),
        lambda path: write_split(None, path),
        lambda path: read_split(None, path),
    ],
)
def test_nobodys_home(use):
    with pytest.raises(BadInput, match=r"~nobody-of-that-name.* no user is called") as told:
        use("~nobody-of-that-name/a")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: existing(folder, "data.root", "folder", folder=True),
        lambda folder: find_pictures(str(folder)),
        lambda folder: find_pictures(str(folder.parent)),
    ],
)
def test_names_that_are_no_utf8(use, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "1.jpg").touch()
    with pytest.raises(BadInput, match=r"caf.* is not valid UTF-8; rename it"):
        use(folder)


@pytest.mark.parametrize("images", ["", " "])
def test_no_picture_is_named(images):
    with pytest.raises(BadInput, match="names no picture"):
        find_pictures(images)


def test_hidden_pictures_are_not_asked_about(tmp_path):
    for name in ("IMG.jpg", "._IMG.jpg", ".trash/1.jpg", "more/2.PNG", "more/.3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    hidden = tmp_path / ".trash"
    assert [path.name for path in find_pictures(str(tmp_path))] == ["IMG.jpg", "2.PNG"]
    assert find_pictures(str(hidden)) == [hidden / "1.jpg"]  # asked for by name


def test_nobodys_home_elsewhere(monkeypatch):
    assert quote_path("data.root=~nobody-of-that-name/a,b", multirun=True) == "data.root=~nobody-of-that-name/a,b"
    monkeypatch.setenv("PIPELINE_CACHE", "~nobody-of-that-name")
    with pytest.raises(BadInput, match="PIPELINE_CACHE"):
        cache_folder()


def test_answers_replace_nothing_but_answers(tmp_path):
    picture, other, earlier = (tmp_path / name for name in ("0.jpg", "mine.csv", "answers.csv"))
    picture.write_bytes(b"a photograph")
    other.write_text("path,label\n")
    earlier.write_text("picture,label,probability\n")
    link = tmp_path / "link.csv"
    link.symlink_to(picture)
    for output, said in ((picture, "ends in .csv"), (link, "one of the pictures"), (other, "something else")):
        with pytest.raises(BadInput, match=said):
            check_output(str(output), [picture])
    assert check_output(str(earlier), [picture]) == earlier


def test_a_name_too_long_for_any_disk_names_its_key():
    with pytest.raises(BadInput, match=r"data\.root"):
        expanded("x" * 300, "data.root")
