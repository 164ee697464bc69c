"""Answers at the rank that is sure: sums, climbing, and the promise."""

import numpy as np
import pandas as pd
import pytest
from conftest import random_predictions

from pipeline.common.errors import BadInput
from pipeline.evaluation.depth import (
    NOTHING,
    Tree,
    answered,
    by_rank,
    depth_figures,
    lines,
    right,
    thresholds,
    wrong_up_to,
)

CLASSES = ("herring gull", "black gull", "tern", "wolf", "lost")
TAXONOMY = pd.DataFrame(
    {
        "family": ["Laridae", "Laridae", "Laridae", "Canidae", None],
        "genus": ["Larus", "Larus", None, "Canis", None],
        "species": ["Larus argentatus", "Larus fuscus", "Sterna hirundo", "Canis lupus", None],
    },
    index=list(CLASSES),
)
TREE = Tree.of(CLASSES, TAXONOMY)
FAMILY, GENUS, SPECIES, LABEL = range(4)


def test_probability_is_summed_up_the_line_of_the_likeliest():
    line = TREE.line(np.array([0, 4]), np.array([[0.5, 0.2, 0.1, 0.15, 0.05], [0.1, 0.1, 0.1, 0.1, 0.6]]))
    np.testing.assert_allclose(line[0], [0.8, 0.7, 0.5, 0.5])
    np.testing.assert_allclose(line[1], [0.6] * 4)


@pytest.mark.parametrize(
    ("code", "threshold", "level"),
    [
        (0, 0.4, SPECIES),
        (0, 0.5, GENUS),
        (0, 0.7, FAMILY),
        (0, 0.8, NOTHING),
        (2, 0.75, FAMILY),  # its genus is not known, so that nothing is said there
        (4, 0.04, LABEL),  # a class without a row goes straight to the root
        (4, 0.06, NOTHING),
    ],
)
def test_the_answer_is_the_deepest_that_is_sure(code, threshold, level):
    codes, share = np.array([code]), np.array([[0.5, 0.2, 0.1, 0.15, 0.05]])
    assert TREE.deepest(codes, TREE.line(codes, share), threshold).tolist() == [level]


def test_without_a_taxonomy_it_is_the_class_or_nothing():
    tree = Tree.of(CLASSES, None)
    line = tree.line(np.array([1]), np.array([[0.1, 0.6, 0.1, 0.1, 0.1]]))
    assert tree.deepest(np.array([1]), line, 0.5).tolist() == [0]
    assert tree.deepest(np.array([1]), line, 0.6).tolist() == [NOTHING]
    with pytest.raises(BadInput, match="no row for ant"):
        Tree.of(("ant", "wolf"), TAXONOMY)


def grown(classes=12):
    """Classes by fours in a family and by twos in a genus; the last has no row."""
    names, known = [f"species {code}" for code in range(classes)], range(classes - 1)
    table = pd.DataFrame({"family": [f"F{c // 4}" for c in known], "genus": [f"G{c // 2}" for c in known]})
    return table.set_axis(pd.Index(names[:-1]), axis=0).reindex(names)


def test_at_most_the_promised_share_of_answers_is_wrong():
    taxonomy, chance = grown(), np.random.default_rng(1)
    pool = random_predictions(6_000, 12, signal=2.5)
    tree = Tree.of(pool.classes, taxonomy)
    wrong = {0.05: [], 0.2: []}
    for _ in range(200):
        order = chance.permutation(len(pool))
        val, check = pool.take(order[:200]), pool.take(order[200:1200])
        found = thresholds(wrong_up_to(tree, val), list(wrong))
        for error, threshold in zip(wrong, found, strict=True):
            figures = depth_figures(answered(tree, check, threshold), error)
            wrong[error].append(figures[f"rank_error_{100 * error:g}"])
    for error, seen in wrong.items():
        assert np.mean(seen) <= error + 2 * np.std(seen) / np.sqrt(len(seen))
        assert np.mean(seen) > error - 0.02  # and it does not give away more than it must


def test_a_threshold_is_where_answers_stop_being_wrong():
    taxonomy, found = grown(), random_predictions(300, 12, signal=1.0)
    tree = Tree.of(found.classes, taxonomy)
    line, hit = lines(tree, found), right(tree, found)
    for threshold in (0.0, 0.3, 0.6, 0.9):
        level = tree.deepest(found.predicted, line, threshold)
        missed = (level != NOTHING) & ~hit[np.arange(len(level)), level]
        np.testing.assert_array_equal(missed, wrong_up_to(tree, found) > threshold)


def test_what_so_few_pictures_cannot_promise_is_told():
    few = random_predictions(10)
    with pytest.raises(BadInput, match=r"10 val pictures cannot promise that at most 5\.00% .* at least 19; .* 9\.09%"):
        thresholds(wrong_up_to(Tree.of(few.classes, None), few), [0.05])
    assert thresholds(np.zeros(19), [0.05]) == [0.0]


def test_figures_by_rank_add_up():
    taxonomy, found = grown(), random_predictions(400, 12, signal=2.0)
    deep = answered(Tree.of(found.classes, taxonomy), found, 0.6)
    table = by_rank(deep).set_index("rank")
    assert list(table.index) == ["nothing", "family", "genus", "label"]
    assert table["answers"].sum() == len(found)
    figures = depth_figures(deep, 0.05)
    assert table["wrong"].sum() == round(figures["rank_error_5"] * len(found))
    assert table.loc["label", "share"] == figures["rank_full_5"]
    assert table["ece"].iloc[1:].between(0, 1).all()


def test_sparse_predictions_say_the_same():
    dense = random_predictions(200, 40, signal=3.0)
    sparse = random_predictions(200, 40, signal=3.0, dense_classes=10, largest=30)
    taxonomy = grown(40)
    assert sparse.is_sparse
    tree = Tree.of(dense.classes, taxonomy)
    np.testing.assert_allclose(lines(tree, sparse), lines(tree, dense), atol=0.02)
