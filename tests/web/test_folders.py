import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.web.folders import Outside, inside, look


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A named folder `photos` and, beside it, what nobody may see."""
    top = tmp_path_factory.mktemp("disk")
    for name in (
        "moths/north/auk/1.jpg",
        "moths/north/bee eater/2.JPG",
        "moths/south/auk/3.jpg",
        "moths/.hidden/4.jpg",
    ):
        file = top / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (top / "photos" / "moths" / "labels.csv").write_text("path,label\n")
    (top / "secret").mkdir()
    (top / "secret" / "key.txt").write_text("secret")
    (top / "photos" / "out").symlink_to(top / "secret")
    (top / "photos" / "out.csv").symlink_to(top / "secret" / "key.txt")
    (top / "photos" / "loop").symlink_to(top / "photos" / "loop")
    (top / "photos" / "same").symlink_to(top / "photos" / "moths")
    return top


def test_a_name_means_what_lies_in_its_folder(disk):
    folders = {"photos": disk / "photos"}
    assert inside("photos", folders) == disk / "photos"
    assert inside("photos/moths/north/bee eater", folders) == disk / "photos" / "moths" / "north" / "bee eater"
    assert inside("photos/same", folders) == disk / "photos" / "moths"


@pytest.mark.parametrize(
    "name",
    ["", "secret", "photos/..", "photos/../secret", "photos/out", "photos/out/key.txt", "photos/out.csv", "photos/loop",
     "photos/none", "photos//moths", "photos/moths/", "/etc", "../photos", "photos/./moths", "photos/\0", "~",
     "photos/" + "x" * 5000, "photos/moths\udce9"],
)  # fmt: skip
def test_no_name_leads_elsewhere(disk, name):
    with pytest.raises(Outside):
        inside(name, {"photos": disk / "photos"})


@given(
    st.lists(
        st.sampled_from(["photos", "..", ".", "", "out", "key.txt", "moths", "same", "/", "etc", "north"]) | st.text()
    )
)
def test_no_parts_lead_elsewhere(disk, parts):
    try:
        found = inside("/".join(parts), {"photos": disk / "photos"})
    except Outside:
        return
    assert found.is_relative_to(disk / "photos")
    assert found.exists()


def test_a_glance_tells_how_pictures_lie(disk):
    seen = look(disk / "photos" / "moths", disk / "photos")
    assert (seen.folders, seen.tables, seen.source, seen.whole) == (["north", "south"], ["labels.csv"], "folder", True)
    assert (seen.pictures, seen.depth) == (3, 2)
    assert ("north", "auk", "1.jpg") in seen.samples
    above = look(disk / "photos", disk / "photos")
    assert (above.folders, above.tables) == (["moths", "same"], [])  # nothing that leads elsewhere


def test_a_folder_that_cannot_be_read_is_empty(disk):
    assert look(disk / "none", disk).pictures == 0


def test_a_name_that_is_no_text_is_left_out(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system takes only text")
    (tmp_path / "café").mkdir()
    assert look(tmp_path, tmp_path).folders == ["café"]


def test_published_forms_are_known_by_their_files(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("images.txt", "image_class_labels.txt"):
        (tmp_path / name).write_text("")
    assert look(tmp_path, tmp_path).source == "cub200"
    (tmp_path / "images.txt").rename(tmp_path / "train.txt")
    (tmp_path / "classes.txt").write_text("")
    assert look(tmp_path, tmp_path).source == "lists"
