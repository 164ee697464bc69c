import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.mistakes import confident_errors, confused_pairs, doubtful_hits, worst_of_class
from pipeline.predictions.predictions import Predictions


@st.composite
def answered(draw: st.DrawFn) -> Predictions:
    classes = draw(st.integers(2, 6))
    many = draw(st.integers(1, 40))
    chance = np.random.default_rng(draw(st.integers(0, 1000)))
    logits = chance.normal(size=(many, classes)).astype(np.float32)
    labels = chance.integers(0, classes, many)
    return Predictions(np.array([f"{row}.jpg" for row in range(many)]), labels, [*"abcdef"[:classes]], logits)


@given(answered())
def test_errors_and_hits_are_all_pictures_once_and_in_order(found: Predictions) -> None:
    errors, hits = confident_errors(found), doubtful_hits(found)
    assert sorted([*errors, *hits]) == list(range(len(found)))
    assert not found.correct[errors].any()
    assert (np.diff(found.confidence[errors]) <= 0).all()
    assert (np.diff(found.confidence[hits]) >= 0).all()


@given(answered())
def test_a_class_has_its_own_mistakes_and_the_hardest_comes_first(found: Predictions) -> None:
    worst = worst_of_class(found, 2)
    shares = []
    for code, places in worst.items():
        of_class = found.labels == code
        assert (found.labels[places] == code).all()
        assert not found.correct[places].any()
        assert len(places) == min(2, (of_class & ~found.correct).sum())
        shares.append((of_class & ~found.correct).sum() / of_class.sum())
    assert shares == sorted(shares, reverse=True)
    assert set(worst) == set(found.labels[~found.correct].tolist())


@given(answered())
def test_pairs_count_mistakes_both_ways(found: Predictions) -> None:
    pairs = confused_pairs(found, 100)
    assert sum(pair.mistakes for pair in pairs) == (~found.correct).sum()
    for pair in pairs:
        assert set(found.predicted[pair.one_as_other]) <= {pair.other}
        assert set(found.labels[pair.one_as_other]) <= {pair.one}
        assert found.correct[pair.ones].all()
    assert [pair.mistakes for pair in pairs] == sorted((pair.mistakes for pair in pairs), reverse=True)
