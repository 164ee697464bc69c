import os
from pathlib import Path

import pytest

from pipeline.cli.output import check_output
from pipeline.cli.quoting import quote_path
from pipeline.commands.compare import checked_output, put_page
from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.data.files import existing
from pipeline.data.split_files import read_split, write_split
from pipeline.data.unlabelled import find_pictures
from pipeline.models.weights import read_state
from pipeline.serving.answers_file import holds_answers


def test_homes_are_filled_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a", "x") == Path("/home/me/a")
    assert expanded("a/~b", "x") == Path("a/~b")


@pytest.mark.parametrize(
    "use",
    [
        lambda path: existing(path, "data.root", "folder", folder=True),
        find_pictures,
        lambda path: check_output(path, ".csv", "answers", holds_answers),
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


def test_nobodys_home_elsewhere(monkeypatch):
    assert quote_path("data.root=~nobody-of-that-name/a,b", multirun=True) == "data.root=~nobody-of-that-name/a,b"
    monkeypatch.setenv("PIPELINE_CACHE", "~nobody-of-that-name")
    with pytest.raises(BadInput, match="PIPELINE_CACHE"):
        cache_folder()


def test_a_name_too_long_for_any_disk_names_its_key():
    with pytest.raises(BadInput, match=r"data\.root"):
        expanded("x" * 300, "data.root")


def test_a_comparisons_page_replaces_its_own_kind_alone(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>my thesis</p>")
    with pytest.raises(BadInput, match="holds something else than an earlier comparison"):
        checked_output(str(page))
    page.write_text("<p>Made on 2026-11-26 by python -m pipeline.compare sweep=latest</p>")
    assert checked_output(str(page)) == page


def test_a_comparisons_page_is_there_whole_or_not_at_all(tmp_path, files_of_at_most):
    page = tmp_path / "page.html"
    page.write_text("Made by python -m pipeline.compare")
    with files_of_at_most(1000), pytest.raises(BadInput, match="it cannot be written"):
        put_page(page, "page.html", b" " * 2000, "a run")
    assert checked_output(str(page)) == page
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
