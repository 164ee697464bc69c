"""Lists of what can be the answer."""

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.serving.only import among, called, listed, of_regions

CLASSES = ("cat", "dog", "owl")
RANKS = {"order": ["Carnivora", "Carnivora", None], "common_name": ["Tiger", None, None]}
KNOWN = called(CLASSES, pd.DataFrame(RANKS, index=list(CLASSES)))


@pytest.mark.parametrize(
    ("only", "inside"),
    [
        (["cat"], [True, False, False]),
        (["Owl ", "tiger"], [True, False, True]),
        (["carnivora"], [True, True, False]),
        ({"order": "Carnivora"}, [True, True, False]),
        ({"order": ["Carnivora"], "common_name": ["Tiger"]}, [True, True, False]),
    ],
)
def test_classes_are_named_by_themselves_or_by_a_taxon_above(only, inside):
    names, lacking = listed(only, KNOWN)
    assert (among(names, KNOWN, 3, "only").tolist(), lacking) == (inside, 0)


@pytest.mark.parametrize("text", ["cat\nunicorn\ndog\n", "place,name\nhere,cat\nthere,dog\nhere,unicorn\n"])
def test_a_file_may_name_more_than_the_model_knows(text, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(text)
    names, lacking = listed(str(file), KNOWN)
    np.testing.assert_array_equal(among(names, KNOWN, 3, "only"), [True, True, False])
    assert lacking == 1


def test_a_list_that_leaves_no_class_is_refused(tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("name\nunicorn\n")
    with pytest.raises(BadInput, match="no column names a class that the model knows"):
        listed(str(file), KNOWN)
    with pytest.raises(BadInput, match="the list leaves no class"):
        among([], KNOWN, 3, "answers.only")
    with pytest.raises(BadInput, match="no class and no taxon cet; did you mean cat"):
        among(["cet"], KNOWN, 3, "answers.only")
    with pytest.raises(BadInput, match="there is no file"):
        listed(str(tmp_path / "none.csv"), KNOWN)


MAP = "region,species\nAzores,cat\nAzores,unicorn\nMadeira,dog\nMadeira,owl\nMoon,unicorn\n"


def test_a_table_of_regions_says_what_lives_where(tmp_path):
    (tmp_path / "map.csv").write_text(MAP)
    file = str(tmp_path / "map.csv")
    assert of_regions(file, ["madeira", "Azores"], KNOWN) == {"madeira": ["dog", "owl"], "Azores": ["cat"]}
    with pytest.raises(BadInput, match=r"map.csv has no region Madera; did you mean Madeira\?"):
        of_regions(file, ["Azores", "Madera"], KNOWN)
    with pytest.raises(BadInput, match="has for Moon the model knows nothing, such as 'unicorn'"):
        of_regions(file, ["Moon"], KNOWN)
    with pytest.raises(BadInput, match="name the table of regions"):
        of_regions(["cat"], ["Moon"], KNOWN)
    with pytest.raises(BadInput, match="has no region Mars"):
        of_regions(file, ["Mars"], KNOWN)
