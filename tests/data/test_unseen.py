"""Classes held out as wholes: which, and what of the table they are."""

import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.table import SPLITS, PictureTable
from pipeline.data.unseen import apart, keep_unseen, kept_unseen, unseen_classes

CLASSES = ["auk", "bee eater", "crane", "=dove", "egret"]


@pytest.fixture
def table():
    labels = CLASSES * 6
    rows = pd.DataFrame({
        "path": [f"{number}.jpg" for number in range(30)], "label": pd.Categorical(labels, categories=CLASSES),
        "split": pd.Categorical([SPLITS[number // 10] for number in range(30)], categories=list(SPLITS)),
    })  # fmt: skip
    return PictureTable("birds", rows, taxonomy=pd.DataFrame({"genus": CLASSES}, index=CLASSES))


def test_a_share_is_drawn_by_the_seed(table):
    draws = [unseen_classes(table, 0.4, seed) for seed in range(20)]
    assert all(len(one) == 2 for one in draws)
    assert unseen_classes(table, 0.4, 3) == draws[3]
    assert {name for one in draws for name in one} == set(CLASSES)
    assert len(unseen_classes(table, 0.01, 0)) == 1
    assert unseen_classes(table, None, 0) == []


def test_the_rest_keeps_its_splits_and_its_order(table):
    known, unseen = apart(table, unseen_classes(table, ["egret", "bee eater"], 0))
    assert known.classes == ["auk", "crane", "=dove"]
    assert unseen.classes == ["bee eater", "egret"]
    assert list(known.taxonomy.index) == known.classes
    before = table.rows.set_index("path")["split"]
    assert (known.rows.set_index("path")["split"] == before[known.rows["path"]]).all()
    assert apart(table, []) == (table, None)


@pytest.mark.parametrize(
    ("unseen", "said"),
    [(["crame"], "data.unseen: birds has no class 'crame'; did you mean crane"),
     (0.8, "4 classes of 5 held out would leave 1"), (CLASSES, "5 classes of 5 held out would leave 0")],
)  # fmt: skip
def test_what_cannot_be_is_told(unseen, said, table):
    with pytest.raises(BadInput, match=said):
        unseen_classes(table, unseen, 0)


def test_a_run_that_broke_off_knows_them_again(table, tmp_path):
    assert kept_unseen(tmp_path) == []
    keep_unseen(apart(table, ["=dove", "egret"])[1], tmp_path)
    assert kept_unseen(tmp_path) == ["=dove", "egret"]
