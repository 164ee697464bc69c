"""Columns beside pictures as numbers: what is seen of their kind, what cannot be, what is unknown."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.data.beside.metadata import Metadata, coarsened
from pipeline.data.beside.registry import columns_of, from_list, known, to_list

ROWS = pd.DataFrame({
    "path": [f"{number}.jpg" for number in range(8)],
    "region": ["north", "south", "north", "", "south", "south", "east", None],
    "site": [1.0, 2.0, 1.0, 1.0, 2.0, np.nan, 2.0, 1.0],
    "depth": ["1", "3", "5", None, "3", "3", "9", "3"],
    "date": ["2020-01-01", "2021-12-31", "2021-07", "", "2021:07:02 10:11:12", "2021-07-02", "2021-07-02", None],
    "latitude": [0.0, 90, -90, 45, np.nan, 10, 10, 10],
    "longitude": [0.0, 12, 100, 180, 3, 10, 10, 10],
})  # fmt: skip
TRAIN = np.arange(6)


def fitted(*asked):
    return Metadata.fit(asked, ROWS, TRAIN)


def codes(kind, rows=ROWS):
    found = kind.codes(torch.from_numpy(kind.values(rows))).numpy()
    assert found.shape == (len(rows), kind.width)
    assert np.isfinite(found).all()
    return found


def test_names_have_a_column_each_and_one_for_what_train_never_had():
    found = codes(fitted("region"))
    assert found.tolist() == [
        [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1],
    ]  # fmt: skip


def test_numbers_are_standardised_on_train_and_never_far_away():
    kind = fitted("depth")
    assert kind.encodings[0].mean == 3
    found = codes(kind)
    assert found[1].tolist() == [0, 0]
    assert found[3].tolist() == [0, 1]
    assert codes(kind, pd.DataFrame({"depth": [1e9]}))[0].tolist() == [5, 0]


def test_numbers_that_are_names_are_said_to_be_and_7_is_7_0():
    kind = fitted("site:category")
    assert kind.encodings[0].names == ("1", "2")
    assert codes(kind, pd.DataFrame({"site": ["1", 2, 2.0, "3"]})).argmax(1).tolist() == [0, 1, 1, 2]


def test_names_beyond_counting_are_refused():
    rows = pd.DataFrame({"path": map(str, range(9000)), "site": [f"s{number // 3}" for number in range(9000)]})
    with pytest.raises(BadInput, match=r"site has 3,000 names, such as 's0', each of .* at most 2,000"):
        Metadata.fit(["site"], rows, np.arange(9000))


def test_a_title_may_have_a_colon():
    rows = ROWS.assign(**{"site:name": ROWS["region"]})
    for asked in ("site:name", "site:name:category"):
        (one,) = Metadata.fit([asked], rows, TRAIN).encodings
        assert one.columns == ("site:name",)


def test_december_is_next_to_january_and_the_date_line_no_edge():
    days = codes(fitted("date"))
    assert np.abs(days[0] - days[1]).max() < 0.03
    assert np.allclose(days[4], days[5])
    assert days[3].tolist() == days[7].tolist() == [0, 0, 1]
    places = codes(fitted("latitude", "longitude"), pd.DataFrame({
        "latitude": [10, 10, 90, 90, 10], "longitude": [180, -180, 0, 77, None],
    }))  # fmt: skip
    assert np.allclose(places[0], places[1], atol=1e-6)
    assert np.allclose(places[2], [0, 0, 1, 0], atol=1e-6)
    assert np.allclose(places[2], places[3], atol=1e-6)
    assert places[4].tolist() == [0, 0, 0, 1]


def test_all_together_they_are_stored_as_json_and_answer_without_any_column():
    kind = fitted("region", "depth", "date", "latitude", "longitude")
    again = from_list(json.loads(json.dumps(to_list((kind,)))))
    assert again == (kind,)
    assert {kind: 1}[again[0]] == 1  # networks that want the same share it
    assert np.array_equal(codes(again[0]), codes(kind))
    assert columns_of([again]) == {
        "region": "string", "depth": "double", "date": "string", "latitude": "double", "longitude": "double",
    }  # fmt: skip
    nothing = known(again, pd.DataFrame(index=range(2))).metadata
    assert nothing.shape == (2, kind.depth)
    assert nothing.isnan().all()
    assert kind.codes(nothing).sum(1).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("asked", "cells", "said"),
    [
        (["regoin"], {}, "data.metadata: no column is called 'regoin'; did you mean region?"),
        (["region:colour"], {}, "region:colour is no kind of column; it can be one of category, date, number"),
        (["latitude"], {}, "latitude alone is no place: name latitude and longitude, or say latitude:number"),
        (["path"], {}, "no column is called 'path'"),
        (
            ["depth"],
            {"depth": "deep"},
            r"2.jpg: depth is 'deep', no number; .* or say data.metadata=\[depth:category\]",
        ),
        (["depth"], {"depth": "3,5"}, "2.jpg: depth is '3,5', no number: write it with a point; correct it"),
        (["depth"], {"depth": "1e300"}, "2.jpg: depth is '1e300', too large for a number"),
        (["depth"], {"depth": "inf"}, "2.jpg: depth is 'inf', too large for a number"),
        (
            ["size"],
            {"size": ["1,5", "2,5"] * 4},
            "size has numbers such as 1,5: write them with a point, or say size:c",
        ),
        (["latitude", "longitude"], {"latitude": 200.0}, "2.jpg: latitude is '200', not within -90 and 90 degrees"),
        (["latitude", "longitude"], {"longitude": -181.0}, "2.jpg: longitude is '-181', not within -180 and 180"),
        (["date"], {"date": "2021-02-31"}, "2.jpg: date is '2021-02-31', a day that no year has"),
        (["date"], {"date": "in May"}, "2.jpg: date is 'in May', no date such as 2021-05-31"),
        (["note"], {"note": "x"}, "note is blank for all training pictures"),
        (["name"], {"name": ["a", "b", "c", "d", "e", "f", "g", "h"]}, "name has 6 names for 6 training pictures"),
        (["day"], {"day": ["1/2/2020", "2/3/2020"] * 4}, "day and month cannot be told: write them as 2021-05-31"),
    ],
)
def test_what_cannot_be_is_said_with_the_picture_and_the_remedy(asked, cells, said):
    rows = ROWS.assign(note=None, name=None, day=None)
    for column, cell in cells.items():
        if isinstance(cell, list):
            rows[column] = cell
        elif column == "note":
            rows.loc[7, column] = cell  # none of train
        else:
            rows.loc[2, column] = cell
    with pytest.raises(BadInput, match=said):
        Metadata.fit(asked, rows, TRAIN)


def test_a_row_asked_later_is_named_by_its_place():
    with pytest.raises(BadInput, match="picture 1: depth is 'deep', no number"):
        fitted("depth").values(pd.DataFrame({"depth": ["1", "deep"]}))


def test_places_are_shown_no_finer_than_asked():
    rows = pd.DataFrame(
        {"Lat": [12.3456, -0.01, None], "exif.longitude": ["-70.11", "x", "3.5"], "depth": [1.234, 2, 3]}
    )
    found = coarsened(rows, 0.1)
    assert found["Lat"].round(6).fillna(0).tolist() == [12.35, -0.05, 0]
    assert found["exif.longitude"].round(6).fillna(0).tolist() == [-70.15, 0, 3.55]
    assert found["depth"].tolist() == [1.234, 2, 3]
    assert coarsened(rows, 0) is rows
