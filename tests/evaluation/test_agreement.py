import numpy as np
import pytest

from pipeline.evaluation.agreement import Agreement, mean_by_class

# Attributes of a class that has the first two and lacks the third; of the fourth nothing is known.
KNOWN = np.array([[1, 1, -1, 0]] * 3)


def test_reasons_and_their_graph_beside_what_is_known():
    added = np.array([[2, -1, 1, 9], [1, 1, -2, 0], [-1, 0, 0, 1.0]])
    concepts = np.array([[1, -1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
    found = Agreement.of(added, concepts, KNOWN)
    # Seen and for; not seen and against; seen, for, and yet lacking: three quarters of what was weighed.
    assert found.share.tolist() == [0.75, 1, 0]
    assert found.edits.tolist() == [2, 0, 2]  # the third attribute too many and the second missing; none; both missing
    assert found.explained.tolist() == [2, 2, 0]
    assert found.known.tolist() == [2, 2, 2]
    table = found.table(np.array([1, 0, 1]), ["auk", "bee"])
    assert table["class"].tolist() == ["bee", "auk"]
    assert table["pictures"].tolist() == [2, 1]
    assert table["edit_distance"].tolist() == [2, 0]


def test_the_interval_holds_the_mean_and_is_wider_of_fewer_classes():
    chance = np.random.default_rng(0)
    classes = np.repeat(np.arange(40), 10)
    values = chance.normal(size=40)[classes] + chance.normal(size=400)
    value, low, high = mean_by_class(values, classes)
    assert value == pytest.approx(values.mean())
    assert low < value < high
    few = mean_by_class(values, classes // 8)
    assert few[2] - few[1] > 0
    assert mean_by_class(np.ones(5), np.zeros(5, int)) == (1, 1, 1)
