import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.evaluation import taxonomy
from pipeline.predictions.builder import PredictionsBuilder

CLASSES = ["Larus argentatus", "Larus fuscus", "Sterna hirundo", "Amanita muscaria"]
TAXONOMY = pd.DataFrame(
    {
        "kingdom": ["Animalia", "Animalia", "Animalia", "Fungi"],
        "family": ["Laridae", "Laridae", "Laridae", "Amanitaceae"],
        "genus": ["Larus", "Larus", "Sterna", "Amanita"],
        "common_name": ["herring gull", "black-backed gull", "tern", "fly agaric"],
    },
    index=CLASSES,
)


def answers(*pairs):
    collector = PredictionsBuilder(CLASSES)
    truth, answer = zip(*pairs, strict=True)
    collector.add([str(row) for row in range(len(pairs))], np.array(truth), 5 * np.eye(4)[list(answer)])
    return collector.finish()


PREDICTIONS = answers((0, 0), (0, 1), (0, 2), (0, 3), (1, 1))


def test_accuracy_grows_towards_the_root():
    table = taxonomy.rank_accuracy(PREDICTIONS, TAXONOMY)
    assert list(table["rank"]) == ["kingdom", "family", "genus", "label"]
    assert list(table["groups"]) == [2, 2, 3, 4]
    assert list(table["accuracy"]) == pytest.approx([0.8, 0.8, 0.6, 0.4])


def test_an_error_climbs_to_where_it_meets_the_truth():
    assert list(taxonomy.error_heights(PREDICTIONS, TAXONOMY)) == [0, 1, 2, 4, 0]
    table = taxonomy.error_summary(PREDICTIONS, TAXONOMY)
    assert list(table["meets_at"]) == ["genus", "family", "kingdom", "root"]
    assert list(table["pictures"]) == [1, 1, 0, 1]
    assert table["share"].sum() == pytest.approx(1.0)


def test_a_species_column_that_tells_all_classes_apart_is_the_last_level():
    table = taxonomy.rank_accuracy(PREDICTIONS, TAXONOMY.assign(species=CLASSES))
    assert list(table["rank"]) == ["kingdom", "family", "genus", "species"]


def test_homonyms_of_different_kingdoms_stay_apart():
    homonyms = TAXONOMY.assign(genus=["Oenanthe", "Larus", "Sterna", "Oenanthe"])
    accuracy = taxonomy.rank_accuracy(answers((0, 3)), homonyms).set_index("rank")["accuracy"]
    assert accuracy["genus"] == 0


def test_missing_names_are_no_kin():
    holes = TAXONOMY.assign(genus=[None, None, "Sterna", "Amanita"])
    assert list(taxonomy.error_heights(answers((0, 1)), holes)) == [2]
    table = taxonomy.rank_accuracy(answers((0, 0), (0, 1), (2, 2), (2, 0)), holes).set_index("rank")
    assert table["groups"].to_dict() == {"kingdom": 2, "family": 2, "genus": 2, "label": 4}
    assert table["unknown"].to_dict() == {"kingdom": 0, "family": 0, "genus": 2, "label": 0}
    assert table["accuracy"].to_dict() == {"kingdom": 1.0, "family": 1.0, "genus": 0.5, "label": 0.5}
    assert taxonomy.error_summary(answers((0, 0)), TAXONOMY)["share"].sum() == 0


def test_classes_without_a_row_are_left_out_of_rank_figures():
    """They are no kingdoms of their own; to answer with one is a mistake, for their pictures there is no figure."""
    some = TAXONOMY.astype(object)
    some.loc[["Larus fuscus", "Amanita muscaria"]] = None
    table = taxonomy.rank_accuracy(answers((0, 0), (0, 1), (0, 2), (1, 1), (1, 0), (3, 3)), some).set_index("rank")
    assert table["groups"].to_dict() == {"kingdom": 1, "family": 1, "genus": 2, "label": 2}
    assert set(table["unknown"]) == {2}
    assert table["accuracy"].to_dict() == pytest.approx(
        {"kingdom": 2 / 3, "family": 2 / 3, "genus": 1 / 3, "label": 1 / 3}
    )
    assert taxonomy.error_summary(answers((0, 0), (0, 1), (0, 2), (1, 0)), some)["pictures"].sum() == 1
    empty = taxonomy.rank_accuracy(PREDICTIONS, TAXONOMY.assign(kingdom=None))
    assert list(empty["rank"]) == ["family", "genus", "label"]


def test_a_taxonomy_that_does_not_fit():
    with pytest.raises(BadInput, match="no row for Larus fuscus"):
        taxonomy.rank_accuracy(PREDICTIONS, TAXONOMY.drop(index="Larus fuscus"))
    with pytest.raises(BadInput, match="none of the columns kingdom"):
        taxonomy.rank_accuracy(PREDICTIONS, TAXONOMY[["common_name"]])


def test_the_finest_rank_with_few_enough_groups():
    assert taxonomy.grouping(TAXONOMY, 3).name == "genus"
    assert taxonomy.grouping(TAXONOMY, 2).name == "family"
    assert taxonomy.grouping(TAXONOMY.assign(kingdom="x", family="y"), 2) is None
