import numpy as np
import pytest
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from pipeline.common.errors import BadInput
from pipeline.evaluation.neighbourhood import Neighbourhood


def clouds(seed=0, each=20):
    """Three clouds of features in directions of their own; labels (n,)."""
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    return (chance.normal(size=(len(labels), 16)) + 6 * np.eye(3, 16)[labels]).astype(np.float16), labels


def test_leave_one_out_is_scikit_learns():
    values, labels = clouds()
    centred = values.astype(np.float32) - values.mean(axis=0, dtype=np.float32)
    own = Neighbourhood.of(values, labels, 5, np.arange(len(labels)))
    theirs = cross_val_predict(KNeighborsClassifier(1, metric="cosine"), centred, labels, cv=LeaveOneOut())
    np.testing.assert_array_equal(own.answers(1), theirs)
    assert own.correct(5).mean() > 0.8


def test_a_wrong_label_a_copy_and_a_stranger_come_first():
    values, labels = clouds()
    values[30], values[31] = values[29], -5 * values[0]
    wrong = labels.copy()
    wrong[2] = 2
    found = Neighbourhood.of(values, wrong, 5, np.arange(len(labels)))
    assert found.doubtful()[0] == 2
    assert found.doubt[2] > 0
    pairs, cosines = found.copies(0.99)
    assert pairs.tolist() == [[29, 30]]
    assert cosines[0] == pytest.approx(1, abs=1e-3)
    assert found.solitary()[0] == 31


def test_of_one_specimen_pictures_do_not_count():
    values, labels = clouds()
    groups = np.arange(len(labels)) // 2
    found = Neighbourhood.of(values, labels, 5, groups)
    assert not (groups[found.near] == groups[:, None]).any()
    with pytest.raises(BadInput, match="too few pictures"):
        Neighbourhood.of(values, labels, 5, np.zeros(len(labels), int))


def test_equally_many_neighbours_leave_it_to_the_nearest():
    found = Neighbourhood(np.array([[1, 2]]), np.array([[0.9, 0.8]]), np.array([0, 1, 0]))
    assert found.answers(2).tolist() == [1]
