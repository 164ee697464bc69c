import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import BadInput
from pipeline.ensembles import rules
from pipeline.ensembles.rules import ClassStack, HardVote, SharedStack, SoftVote, combine
from pipeline.evaluation.calibration import expected_calibration_error

SIZES = {"pictures": st.integers(1, 30), "classes": st.integers(2, 12), "seed": st.integers(0, 999)}


def some_rules(members, classes):
    chance = np.random.default_rng(0)
    coefficients = chance.normal(size=(classes, members * classes))
    return [
        HardVote(),
        SoftVote(),
        SoftVote(tuple(chance.dirichlet(np.ones(members)))),
        SharedStack(tuple(chance.random(members))),
        ClassStack(tuple(map(tuple, coefficients)), tuple(chance.normal(size=classes))),
    ]


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_every_rule_gives_probabilities(make_members, pictures, classes, seed):
    members = make_members(pictures=pictures, classes=classes, seed=seed)
    for rule in some_rules(3, classes):
        given_to_it = [member.spread(slice(0, pictures)) for member in members.values()]
        probabilities = rule(given_to_it)
        assert probabilities.shape == (pictures, classes)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
        combined = combine(members, rule)
        np.testing.assert_allclose(combined.probabilities(), probabilities, atol=1e-5)
        assert list(combined.ids) == list(members["run 0"].ids)


@settings(max_examples=25, deadline=None)
@given(pictures=st.integers(1, 30), seed=st.integers(0, 999))
def test_a_soft_vote_is_the_weighted_mean(make_members, pictures, seed):
    members = make_members(pictures=pictures, classes=4, seed=seed)
    every = [member.probabilities() for member in members.values()]
    for weights in (None, (0.5, 0.3, 0.2)):
        expected = np.average(every, axis=0, weights=weights)
        np.testing.assert_allclose(combine(members, SoftVote(weights)).probabilities(), expected, atol=1e-6)


def test_a_tie_in_a_hard_vote_goes_to_the_larger_mean_probability():
    members = [np.array([[0.6, 0.4, 0.0]]), np.array([[0.1, 0.9, 0.0]])]
    assert HardVote()(members).argmax() == 1


@settings(max_examples=100, deadline=None)
@given(
    **SIZES,
    count=st.integers(2, 7),
    grain=st.sampled_from([2, 4, 1000]),
)
def test_a_hard_vote_answers_as_the_votes_do(pictures, classes, seed, count, grain):
    """Coarse probabilities, so that votes and means often tie."""
    whole = np.random.default_rng(seed).integers(0, grain, (count, pictures, classes)).astype(np.float32) + 0.1
    members = list(whole / whole.sum(axis=2, keepdims=True))
    probabilities = HardVote()(members)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    mean = SoftVote()(members)
    for row, chosen in enumerate(probabilities.argmax(axis=1)):
        votes = np.bincount([member[row].argmax() for member in members], minlength=classes)
        leading = np.flatnonzero(votes == votes.max())
        assert chosen == leading[mean[row, leading].argmax()]
        # No probability is made up: they are the mean's own, two of them in each other's place.
        np.testing.assert_allclose(np.sort(probabilities[row]), np.sort(mean[row]), atol=1e-5)
        others = np.delete(np.arange(classes), [chosen, mean[row].argmax()])
        np.testing.assert_allclose(probabilities[row, others], mean[row, others], atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(**SIZES, count=st.integers(2, 7), temperature=st.floats(0.1, 10))
def test_neither_storing_nor_a_temperature_turns_a_hard_vote(make_members, pictures, classes, seed, count, temperature):
    members = make_members([1.0] * count, pictures, classes, seed=seed)
    answers = np.stack([member.predicted for member in members.values()])
    votes = np.stack([(answers == code).sum(axis=0) for code in range(classes)], axis=1)
    found = combine(members, HardVote())
    for chosen in (found.predicted, found.at_temperature(temperature).predicted):
        np.testing.assert_array_equal(votes[np.arange(pictures), chosen], votes.max(axis=1))


def test_a_hard_votes_probability_is_as_honest_as_the_mean(make_members):
    votes, mean = (combine(make_members([1.5] * 5, 4_000), rule) for rule in (HardVote(), SoftVote()))
    assert expected_calibration_error(votes) < expected_calibration_error(mean) + 0.01


def test_voting_beats_its_members(make_members):
    members = make_members([1.2] * 7, pictures=1_000)
    best = max(member.correct.mean() for member in members.values())
    assert combine(members, SoftVote()).correct.mean() > best + 0.1
    assert combine(members, HardVote()).correct.mean() > best + 0.05


def test_sparse_members_give_nearly_the_dense_answer(make_members):
    dense = make_members([3.0] * 4, pictures=300, classes=200)
    sparse = make_members([3.0] * 4, pictures=300, classes=200, dense_classes=10, largest=50)
    for rule in some_rules(4, 200)[:4]:
        exact, estimated = combine(dense, rule), combine(sparse, rule)
        assert estimated.is_sparse
        assert (exact.predicted == estimated.predicted).mean() > 0.95
        losses = [-one.true_log_probability.mean() for one in (exact, estimated)]
        assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_the_kept_true_class_gives_sparse_members_no_hint(make_members):
    members = make_members([0.0] * 5, pictures=2_000, classes=400, dense_classes=10, largest=20)
    assert combine(members, SoftVote()).correct.mean() < 0.02


@pytest.mark.parametrize("number", range(5))
def test_a_rule_comes_back_from_json(number):
    rule = some_rules(3, 4)[number]
    assert rules.from_dict(json.loads(json.dumps(rules.to_dict(rule)))) == rule


def test_rules_that_are_not_known():
    with pytest.raises(BadInput, match=r"magic \(format_version 1\) is not known"):
        rules.from_dict({"format_version": 1, "rule": "magic"})
    with pytest.raises(BadInput, match=r"hard_vote \(format_version 1\) is not known: make it again"):
        rules.from_dict({"format_version": 1, "rule": "hard_vote"})
    with pytest.raises(BadInput, match="format_version 2"):
        rules.from_dict({"format_version": 2, "rule": "soft_vote"})


def test_one_member_or_members_that_differ(make_members):
    members = make_members()
    with pytest.raises(BadInput, match=r"one member \(run 0\) is no ensemble"):
        combine({"run 0": members["run 0"]}, SoftVote())
    with pytest.raises(BadInput, match="no run was chosen"):
        combine({}, SoftVote())
    stranger = make_members(classes=6)["run 0"]
    with pytest.raises(BadInput, match="stranger has other classes than run 0"):
        combine({**members, "stranger": stranger}, SoftVote())
    members["run 1"].logits[3, 0] = np.nan
    with pytest.raises(BadInput, match="run 1 hold NaN"):
        combine(members, SoftVote())
