from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.data.sources import read_source
from pipeline.data.sources.lists import Names
from tests.data.conftest import Write


@pytest.fixture
def shells(write: Write, tmp_path: Path) -> Path:
    for number in range(1, 4):
        write(f"photos/shell {number}.jpg")
    (tmp_path / "classes.txt").write_text("dalli\nConus baccatus\n")
    (tmp_path / "locations.txt").write_text("EASTERN_ATLANTIC\nMEDITERRANEAN\n")
    return tmp_path


def test_the_studys_files(shells: Path) -> None:
    (shells / "train.txt").write_text("photos/shell 1.jpg 0 2\nphotos/shell 2.jpg Conus baccatus EASTERN_ATLANTIC\n")
    (shells / "val.txt").write_text("\nphotos/shell 3.jpg\tdalli\n")
    table = read_source("lists", root=str(shells))
    assert table.rows["path"].tolist() == [f"photos/shell {number}.jpg" for number in range(1, 4)]
    assert table.rows["label"].tolist() == ["dalli", "Conus baccatus", "dalli"]
    assert table.rows["split"].tolist() == ["train", "train", "val"]
    assert table.rows["location"].tolist()[:2] == ["MEDITERRANEAN", "EASTERN_ATLANTIC"]
    assert table.rows["location"].isna().tolist() == [False, False, True]
    assert table.classes == ["dalli", "Conus baccatus"]


def test_without_classes_labels_are_names(write: Write, tmp_path: Path) -> None:
    for number in (1, 2):
        write(f"set/{number}.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/train.txt").write_text("1.png red fox\n2.png arctic fox\n")
    table = read_source("lists", root=str(tmp_path / "set"), lists=str(tmp_path / "lists"))
    assert table.classes == ["arctic fox", "red fox"]
    assert "location" not in table.rows


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("photos/shell 1.jpg dali", r"line 1 of .*train\.txt: no class is 'dali'; did you mean dalli"),
        ("photos/shell 1.jpg 3", "no class is '3'"),
        ("photos/shell 1.jpg 0 7", "no location is '7'"),
        ("photos/shell 1.jpg", "has no label"),
        ("photos/shell 9.jpg 0", r"shell 9\.jpg is not there"),
        ("0", "names no picture"),
    ],
)
def test_lines_that_will_not_do(line: str, says: str, shells: Path) -> None:
    (shells / "train.txt").write_text(f"{line}\nphotos/shell 2.jpg 0\n")
    with pytest.raises(BadInput, match=says) as told:
        read_source("lists", root=str(shells))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("numbers", "options", "named"),
    [
        ([(0, 0), (1, 1)], {}, [("dalli", "EASTERN_ATLANTIC"), ("Conus baccatus", "MEDITERRANEAN")]),
        ([(0, 1), (1, 2)], {}, [("dalli", "EASTERN_ATLANTIC"), ("Conus baccatus", "MEDITERRANEAN")]),  # the study's
        ([(1, 1), (2, 2)], {}, [("dalli", "EASTERN_ATLANTIC"), ("Conus baccatus", "MEDITERRANEAN")]),
        ([(0, 1), (1, 1)], {"locations_from": 0}, [("dalli", "MEDITERRANEAN"), ("Conus baccatus", "MEDITERRANEAN")]),
        (
            [(0, 1), (1, 1)],
            {"locations_from": 1},
            [("dalli", "EASTERN_ATLANTIC"), ("Conus baccatus", "EASTERN_ATLANTIC")],
        ),
    ],
)
def test_where_places_count_from(numbers, options, named, shells: Path) -> None:
    lines = [f"photos/shell {place}.jpg {one} {other}\n" for place, (one, other) in enumerate(numbers, start=1)]
    (shells / "train.txt").write_text("".join(lines))
    rows = read_source("lists", root=str(shells), **options).rows
    assert list(zip(rows["label"].astype("str"), rows["location"], strict=True)) == named


def test_where_places_count_from_is_asked_when_it_does_not_show(shells: Path) -> None:
    """Five regions, of which the last has no shell: 1 to 4 may be the first four or the last four."""
    (shells / "locations.txt").write_text("EA\nEP\nIP\nME\nWA\n")
    (shells / "train.txt").write_text("photos/shell 1.jpg 0 1\nphotos/shell 2.jpg 1 4\n")
    says = r"data\.locations_from: .* 1 to 4 for the 5 names .*=0 \(1 is EP\) or data\.locations_from=1 \(EA\)"
    with pytest.raises(BadInput, match=says):
        read_source("lists", root=str(shells))


def test_names_with_numbers_of_their_own(shells: Path) -> None:
    (shells / "classes.txt").write_text("7 dalli\n12 baccatus\n")
    (shells / "train.txt").write_text("photos/shell 1.jpg 12\nphotos/shell 2.jpg 7\n")
    assert read_source("lists", root=str(shells)).rows["label"].tolist() == ["baccatus", "dalli"]


@given(
    count=st.integers(2, 6), first=st.integers(0, 1), chosen=st.lists(st.integers(0, 5), min_size=2, max_size=8),
    told=st.booleans(),
)  # fmt: skip
def test_a_place_is_never_another_name(count: int, first: int, chosen: list[int], told: bool) -> None:
    """Whatever the lists count from: each number is read as it was meant, or the key is asked for."""
    names, meant = [f"class {place}" for place in range(count)], [place % count for place in chosen]
    said = [str(place + first) for place in meant]
    try:
        numbered = Names(names, Path("classes.txt")).counted(first if told else None, said, "data.labels_from")
    except BadInput:
        assert not told
        assert 0 not in map(int, said)
        return
    assert [numbered.find(text) for text in said] == [names[place] for place in meant]


def test_pictures_that_no_list_names(shells: Path, write: Write, caplog: pytest.LogCaptureFixture) -> None:
    (shells / "train.txt").write_text("photos/shell 1.jpg 0\n./photos/shell 2.jpg 1\n")
    write("photos/._shell 1.jpg")
    table = read_source("lists", root=str(shells))
    assert table.unlisted == 1
    assert "left out: 1 (photos/shell 3.jpg)" in caplog.text
    assert "shell 1.jpg" not in caplog.text


def test_no_lists(shells: Path) -> None:
    with pytest.raises(BadInput, match="none of train"):
        read_source("lists", root=str(shells))
    (shells / "classes.txt").write_text("dalli\ndalli\n")
    (shells / "train.txt").write_text("photos/shell 1.jpg 0")
    with pytest.raises(BadInput, match="names 'dalli' twice"):
        read_source("lists", root=str(shells))
