"""How many there are of each class, against the likelihood that it maximises and against pictures of known shares."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.evaluation.counting import counts, kept, shares

CLASSES = ["auk", "bee eater", "crane"]


def drawn(true, pictures, seed=0):
    """Probabilities, calibrated where classes are alike, and labels of pictures whose classes have these shares."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(3, pictures, p=true)
    seen = chance.normal(size=(pictures, 3)) + 1.5 * np.eye(3)[labels]  # normal law: the posterior is a softmax of that
    likely = np.exp(1.5 * seen)
    return likely / likely.sum(1, keepdims=True), labels


def test_shares_are_the_likeliest():
    found, _ = drawn([0.7, 0.25, 0.05], 400)
    prior = np.array([0.5, 0.3, 0.2])

    def unlikely(free):
        mixed = np.exp(np.append(free, 0))
        return -np.log(found @ (mixed / mixed.sum() / prior)).sum()

    best = np.exp(np.append(minimize(unlikely, np.zeros(2)).x, 0))
    np.testing.assert_allclose(shares(kept(found), prior), best / best.sum(), atol=1e-3)


def test_counts_come_nearer_to_what_is_there_and_their_intervals_hold_it():
    found, labels = drawn([0.9, 0.08, 0.02], 2000)
    table = counts(kept(found), np.full(3, 1 / 3), CLASSES, draws=50).set_index("label").loc[CLASSES]
    there = np.bincount(labels, minlength=3)
    assert np.abs(table["estimate"] - there).sum() < np.abs(table["answers"] - there).sum() / 2
    assert table["answers"].sum() == 2000
    assert table["estimate"].sum() == pytest.approx(2000, abs=0.2)
    assert ((table["low"] <= there) & (there <= table["high"])).all()


def test_pictures_that_are_sure_are_counted_as_they_are():
    table = counts(kept(np.eye(3)[[0, 0, 0, 1]]), np.full(3, 1 / 3), CLASSES, draws=20)
    assert table[["label", "answers", "estimate"]].to_numpy().tolist() == [["auk", 3, 3.0], ["bee eater", 1, 1.0]]
