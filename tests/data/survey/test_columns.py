import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.survey.columns import column_report, determined, guessed_right
from pipeline.data.table import PictureTable


def table(**columns: object) -> PictureTable:
    many = 200
    label = pd.Categorical(np.where(np.arange(many) % 2, "moth", "wasp"))
    split = pd.Categorical(np.where(np.arange(many) < 120, "train", "test"), categories=["train", "val", "test"])
    return PictureTable("made", pd.DataFrame({"path": [f"{row}.jpg" for row in range(many)], "label": label,
                                              "split": split, **columns}))  # fmt: skip


def test_a_column_that_gives_the_class_away() -> None:
    rows = np.arange(200)
    made = table(camera=np.where(rows % 2, "A", "B"), year=2000 + rows // 20, weight=np.sin(rows), note="same")
    report = column_report(made).set_index("column")
    assert report.loc["camera", "guess"] == 1
    assert report.loc["camera", "majority"] == 0.5
    assert report.loc["camera", "shared"] == 1
    assert report.loc["weight", "guess"] < 0.7
    assert report.loc["weight", "values"] == 10
    assert "note" not in report.index


def test_a_column_that_says_nothing_guesses_as_well_as_none() -> None:
    rows = np.arange(200)
    report = column_report(table(day=rows % 100 // 20, farm=rows // 4)).set_index("column")  # both classes even in each
    assert report.loc[["day", "farm"], ["guess", "majority"]].to_numpy().tolist() == [[0.5, 0.5]] * 2


def test_a_column_that_differs_between_splits() -> None:
    rows = np.arange(200)
    report = column_report(table(site=np.where(rows < 120, "north", "south"), day=rows % 5)).set_index("column")
    assert report.loc["site", "shared"] == 0
    assert report.loc["site", "differs"] > 0.9
    assert report.loc["site", "p"] < 1e-6
    assert report.loc["day", "p"] > 0.5


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["north", "south", "east"], "region alone tells the class of 100 % of the training pictures"),
        (["north", "south", "south"], "the class tells region of 100 % of the training pictures"),
        (["north"], ""), ([None], ""), (["north", "south", "south", "north"], ""),
    ],
)  # fmt: skip
def test_a_column_that_determines_the_class_or_is_determined_by_it(cells: list[str | None], said: str) -> None:
    labels = np.arange(60) % 3
    found = determined("region", pd.Series([cells[number % len(cells)] for number in range(60)]), labels)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_values_that_never_come_again_say_nothing() -> None:
    assert column_report(table(serial=[f"no {row}" for row in range(200)])).empty


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_a_guess_leaves_the_picture_itself_out(pairs: list[tuple[int, int]]) -> None:
    groups, labels = np.array(pairs).T
    right = 0.0
    for place, (group, label) in enumerate(pairs):
        votes = np.bincount([other for at, (its, other) in enumerate(pairs) if its == group and at != place],
                            minlength=3)  # fmt: skip
        best = votes.max()
        if best and votes[label] == best:
            right += 1.0 if (votes == best).sum() == 1 else 0.5
    assert guessed_right(groups, labels) == pytest.approx(right / len(pairs))
