import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from pipeline.common.errors import BadInput
from pipeline.ensembles import learning
from pipeline.ensembles.candidates import candidates
from pipeline.ensembles.rules import SoftVote, combine

LEARNERS = [learning.weighted_vote, learning.greedy_selection, learning.stacking, learning.class_stacking]


def loss(predictions):
    return -predictions.true_log_probability.mean()


def without(members, label):
    return {name: member.take(member.labels != label) for name, member in members.items()}


@pytest.mark.parametrize("most", [3, 100])
@pytest.mark.parametrize("builder", [{}, {"dense_classes": 5, "largest": 10}])
def test_candidates_hold_all_probability(make_members, most, builder):
    members = make_members(classes=40, **builder)
    found = candidates(members, most)
    np.testing.assert_allclose(np.einsum("ncm,c->nm", found.probabilities, found.sizes), 1.0, atol=1e-4)
    if most == 100:
        np.testing.assert_array_equal(found.truth, members["run 0"].labels)


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_learnt_is_no_worse_than_equal_weights(make_members, learner):
    members = make_members([2.5, 0.1, 1.5], pictures=1_000)
    learnt = combine(members, learner(candidates(members)))
    assert loss(learnt) <= loss(combine(members, SoftVote())) + 1e-6


def test_weights_are_where_scipy_finds_them(make_members):
    found = candidates(make_members([2.0, 0.5, 1.5], pictures=400))
    weights = learning.weighted_vote(found, steps=5_000).weights

    def cost(free):
        return -np.log(found.of_truth @ free).mean()

    simplex = {"type": "eq", "fun": lambda free: free.sum() - 1}
    theirs = minimize(cost, np.ones(3) / 3, bounds=[(1e-9, 1)] * 3, constraints=[simplex], tol=1e-10)
    assert cost(np.array(weights)) == pytest.approx(theirs.fun, abs=1e-5)
    assert sum(weights) == pytest.approx(1.0)


def test_stacking_of_two_classes_is_scikit_learns_logistic_regression(make_members):
    members = make_members([1.0, 2.0], pictures=2_000, classes=2)
    ours = learning.stacking(candidates(members)).weights
    logs = [member.log_probabilities() for member in members.values()]
    gaps = np.stack([log[:, 1] - log[:, 0] for log in logs], axis=1)
    theirs = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-8).fit(gaps, members["run 0"].labels)
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=2e-3)


def test_stacking_trusts_the_better_member(make_members):
    bad, good = learning.stacking(candidates(make_members([0.0, 2.5], pictures=1_000))).weights
    assert good > 5 * bad


@pytest.mark.parametrize("builder", [{}, {"dense_classes": 5, "largest": 60}])
def test_stacking_of_many_classes_counts_the_rest(make_members, builder):
    members = make_members([2.5, 2.0, 1.0], pictures=600, classes=150, **builder)
    rule = learning.stacking(candidates(members))
    assert loss(combine(members, rule)) < loss(combine(members, SoftVote()))
    every = learning.stacking(candidates(members, most=150))
    np.testing.assert_allclose(rule.weights, every.weights, atol=0.06)


@pytest.mark.parametrize("classes", [2, 5])
def test_class_stacking_answers_as_scikit_learn(make_members, classes):
    members = make_members(classes=classes)
    rule = learning.class_stacking(candidates(members))
    features = np.concatenate([member.log_probabilities() for member in members.values()], axis=1)
    # Ours reads float32, and both stop within the solver's tolerance.
    theirs = LogisticRegression(max_iter=1_000).fit(features, members["run 0"].labels)
    np.testing.assert_allclose(combine(members, rule).probabilities(), theirs.predict_proba(features), atol=1e-2)


def test_a_class_that_val_never_shows(make_members):
    found = candidates(without(make_members(), 3))
    with pytest.raises(BadInput, match=r"never shows species 3 \(1 such classes\).*use stacking"):
        learning.class_stacking(found)
    for learner in LEARNERS[:3]:
        assert learner(found).weights
    with pytest.raises(BadInput, match="takes up to 100 classes, not 150"):
        learning.class_stacking(candidates(make_members(classes=150)))


@pytest.mark.parametrize("measure", ["log_loss", "accuracy"])
def test_greedy_selection_leaves_out_what_harms(make_members, measure):
    members = make_members([2.0, 2.0, -3.0], pictures=500)
    weights = learning.greedy_selection(candidates(members), measure=measure).weights
    assert weights[2] == 0
    assert min(weights[:2]) > 0.2
    chosen = combine(members, SoftVote(weights))
    assert chosen.correct.mean() > max(member.correct.mean() for member in members.values())


def test_greedy_selection_starts_with_the_best(make_members):
    found = candidates(make_members([0.5, 3.0, 0.5]))
    assert learning.greedy_selection(found, rounds=1).weights == (0.0, 1.0, 0.0)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 4), min_size=5, max_size=60), seed=st.integers(0, 99))
def test_folds_deal_out_each_class_evenly(labels, seed):
    place = learning.fold_of(np.array(labels), 5, seed)
    assert np.ptp(np.bincount(place, minlength=5)) <= 1
    for label in set(labels):
        assert np.ptp(np.bincount(place[np.array(labels) == label], minlength=5)) <= 1


def test_cross_fitting_never_learns_from_the_picture_it_answers(make_members):
    members = make_members(pictures=60, classes=10, signals=[0.0, 0.0, 0.0])
    learner = learning.class_stacking
    flattered = combine(members, learner(candidates(members)))
    honest = learning.cross_fitted(members, learner)
    assert list(honest.ids) == list(members["run 0"].ids)
    np.testing.assert_array_equal(honest.labels, flattered.labels)
    assert flattered.correct.mean() > 0.6
    assert honest.correct.mean() < 0.3


def test_cross_fitting_sparse_members(make_members):
    members = make_members([4.0] * 3, pictures=100, classes=50, dense_classes=5, largest=20)
    honest = learning.cross_fitted(members, learning.stacking)
    assert honest.is_sparse
    assert list(honest.ids) == list(members["run 0"].ids)
    with pytest.raises(BadInput, match="3 val pictures are too few"):
        learning.cross_fitted({name: one.take(np.arange(3)) for name, one in members.items()}, learning.stacking)
