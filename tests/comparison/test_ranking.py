"""Runs as rows: which of them repeat one choice, and what a row is called."""

import pytest

from pipeline.comparison.entrants import Entrant, score
from pipeline.comparison.ranking import rank


@pytest.fixture
def entrant(make_predictions):
    predictions = make_predictions(40, 2, seed=3)
    val = score(predictions)

    def _entrant(number, files="", **choices):
        named = {key.replace("__", "."): value for key, value in choices.items()}
        return Entrant(str(number), f"run {number}", named, tuple(predictions.classes), "one", val, files=files)

    return _entrant


def test_a_run_done_again_is_one_row_and_the_newer_stands_for_it(entrant):
    found = rank([entrant(1, "aaaaaaaaaaaa", seed="0"), entrant(0, "aaaaaaaaaaaa", seed="0")])
    assert [row.first.id for row in found.rows] == ["1"]
    assert found.older == ["0"]


def test_with_other_files_beside_the_pictures_it_is_another_row(entrant):
    runs = [entrant(number, digest * 12, seed=str(number % 2)) for number, digest in enumerate("aabb")]
    found = rank(runs)
    assert sorted(row.name for row in found.rows) == ["files=aaaaaaa", "files=bbbbbbb"]
    assert not found.older
    one_split_each = [entrant(0, "a" * 12, data__split__seed="0"), entrant(1, "b" * 12, data__split__seed="1")]
    assert len(rank(one_split_each).rows) == 1  # columns of other pictures: no second try


def test_keys_with_one_last_word_are_named_whole(entrant):
    runs = [
        entrant(0, metadata__name="none", data__metadata="[]"),
        entrant(1, metadata__name="concat", data__metadata="['region']"),
        entrant(2, metadata__name="concat", data__metadata="['place']"),
    ]
    assert {row.name for row in rank(runs).rows} == {
        "metadata=none data.metadata=none", "metadata=concat data.metadata=region",
        "metadata=concat data.metadata=place",
    }  # fmt: skip
