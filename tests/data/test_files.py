"""Tables as they are written for people, and read back."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.files import read_table, unguarded, write_csv

TEXTS = st.lists(st.text("'=+-@ab, \"", min_size=1, max_size=6), min_size=1, max_size=5)


@given(texts=TEXTS)
def test_texts_that_look_like_formulas_come_back_as_they_were(texts, tmp_path_factory):
    file = tmp_path_factory.mktemp("csv") / "x.csv"
    write_csv(pd.DataFrame({"label": texts, "value": -1.5}), file)
    read = pd.read_csv(file, dtype={"label": "str"}, keep_default_na=False)
    assert not read["label"].str.match(r"[=+\-@]").any()
    assert list(unguarded(read["label"])) == texts
    assert list(read["value"]) == [-1.5] * len(texts)


def test_names_of_columns_and_rows_are_guarded_and_numbers_stay(tmp_path):
    table = pd.DataFrame([[1, -2], [3, 4]], index=pd.Index(["=a", "true"], name="true"), columns=["=a", "true"])
    write_csv(table, tmp_path / "x.csv", index=True)
    assert (tmp_path / "x.csv").read_text() == "true,'=a,true\n'=a,1,-2\ntrue,3,4\n"


@pytest.mark.parametrize("path", ["=1+1.jpg", "-a.jpg", "@b.jpg", "plain.jpg"])
def test_a_split_is_read_back(path, tmp_path):
    from pipeline.data.split_files import keep_split, read_split
    from pipeline.data.table import SPLITS, PictureTable

    rows = pd.DataFrame(
        {
            "path": [path, "c.jpg", "d.jpg"],
            "label": pd.Categorical(["=x", "y", "y"]),
            "split": pd.Categorical(["train", "val", "train"], categories=list(SPLITS)),
        }
    )
    table = PictureTable("t", rows)
    file = keep_split(table, tmp_path)
    assert set(read_table(file, "x")["label"].str[:1]) == {"'", "y"}
    assert list(read_split(table, file).rows["split"]) == list(rows["split"])
