import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.attributes import attribute_auc, attribute_table, mean_auc

CHANCE = np.random.default_rng(0)
LABELS = CHANCE.integers(0, 10, 400)
SHARES = CHANCE.uniform(size=(10, 4))
SHARES[:, 3] = 0.9
SHARES[2, 0] = np.nan
SCORES = SHARES.take(LABELS, axis=0) + CHANCE.normal(size=(400, 4))
SCORES[np.isnan(SCORES)] = 0


def test_it_is_scikit_learns_of_pictures_of_which_it_is_known():
    found = attribute_auc(SCORES, SHARES, LABELS)[:, 0]
    for place in range(3):
        some = ~np.isnan(SHARES[LABELS, place])
        assert found[place] == pytest.approx(roc_auc_score(SHARES[LABELS[some], place] >= 0.5, SCORES[some, place]))
    assert np.isnan(found[3])


def test_the_mean_is_of_those_with_both_answers_and_between_its_ends():
    found = mean_auc(SCORES, SHARES, LABELS)
    assert found.attributes == 3
    assert found.low < found.value < found.high
    table = attribute_table(list("abcd"), SCORES, SHARES, LABELS)
    assert table["attribute"].iloc[-1] == "d"
    assert table["shown"].iloc[-1] == 400
    assert mean_auc(SCORES[:, 3:], SHARES[:, 3:], LABELS) is None


def test_of_few_classes_draws_without_both_are_left_out():
    found = mean_auc(SCORES[LABELS < 3, :1], np.array([[1.0], [0.0], [np.nan]]), LABELS[LABELS < 3])
    assert found.low <= found.value <= found.high
