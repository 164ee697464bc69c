"""Attributes that somebody set by hand, from a CSV and from requests."""

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.beside.set_by_hand import COLUMN, attributes_set, check_set, with_attributes_set

KNOWN = ("red_wing", "has_bill::dagger")
ROWS = pd.DataFrame({"path": ["a/1.jpg", "a/2.jpg"], "label": pd.Categorical([None, None])})


def test_a_csv_names_attributes_as_they_are_called_or_written(tmp_path):
    file = tmp_path / "set.csv"
    file.write_text("path,Red wing,has_bill::dagger\n2.jpg,yes,0.25\n")
    made = with_attributes_set(ROWS, tmp_path, str(file), KNOWN, "attributes")
    np.testing.assert_array_equal(attributes_set(made, KNOWN), [[np.nan, np.nan], [1, 0.25]])
    np.testing.assert_array_equal(attributes_set(made, ("other", "red_wing")), [[np.nan, np.nan], [np.nan, 1]])
    assert attributes_set(ROWS, KNOWN) is None
    assert attributes_set(made, ()) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,red_wings\n1.jpg,yes\n", "the model has no attribute red_wings; did you mean red_wing"),
        ("path,red_wing\n1.jpg,1.5\n", "1.jpg: red_wing is '1.5'; it takes yes or no, or a share from 0 to 1"),
        ("path,red_wing\n1.jpg,maybe\n", "red_wing is 'maybe'"),
    ],
)
def test_what_a_csv_cannot_say(text, said, tmp_path):
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(BadInput, match=said) as told:
        with_attributes_set(ROWS, tmp_path, str(tmp_path / "set.csv"), KNOWN, "attributes")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("cell", "known", "said"),
    [
        ('{"red_wing": "yes"}', (), "attributes_set: the model reads no attributes: train one with head=concepts"),
        ('{"tail": true}', KNOWN, "the model has no attribute tail"),
        ('{"red_wing": -0.1}', KNOWN, "picture 0: red_wing is '-0.1'"),
        ('{"red_wing": {"a": 1}}', KNOWN, "picture 0: red_wing is"),
        ('{"a\\nb": 1}', KNOWN, "the model has no attribute a b; it can be"),
        (
            '{"red_wing": 1, "Red wing": "no"}',
            KNOWN,
            "picture 0: red_wing and Red wing are one attribute",
        ),
        (
            '{"red_wing": 1, "red_wing": "no"}',
            KNOWN,
            "attributes_set is no JSON object such as .*, each once",
        ),
        ("[1]", KNOWN, "picture 0: attributes_set is no JSON object"),
        ("{", KNOWN, "picture 0: attributes_set is no JSON object"),
    ],
)
def test_what_a_request_cannot_say(cell, known, said):
    with pytest.raises(BadInput, match=said):
        check_set(pd.DataFrame({COLUMN: [cell]}), known)


def test_truth_and_nothing_are_understood():
    rows = pd.DataFrame({COLUMN: ['{"red_wing": true}', {"RED WING": False, "has_bill::dagger": None}, None]})
    check_set(rows, KNOWN)
    np.testing.assert_array_equal(attributes_set(rows, KNOWN), [[1, np.nan], [0, np.nan], [np.nan, np.nan]])
