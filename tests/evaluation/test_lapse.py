"""Sets of pictures that differ from val: false alarms, alarms, and silence."""

import numpy as np

from pipeline.evaluation.familiar import Looks, Usual
from pipeline.evaluation.lapse import LEAST, LEVEL, lapse


def drawn(chance, pictures, *, shift=0.0):
    looks = Looks(chance.gamma(4, size=pictures), chance.normal(size=(pictures, 16)) + shift)
    return chance.beta(4, 1, size=pictures), looks


def test_sets_from_the_same_source_are_seldom_said_to_differ():
    chance = np.random.default_rng(0)
    said = [lapse(Usual(*drawn(chance, 150)), *drawn(chance, 100)).p < LEVEL for _ in range(200)]
    assert np.mean(said) <= LEVEL + 2 * np.sqrt(LEVEL / 200)


def test_what_shows_a_difference_is_said():
    chance = np.random.default_rng(0)
    usual = Usual(*drawn(chance, 150))
    found = lapse(usual, *drawn(chance, 100, shift=np.eye(16)[3]))
    assert found.p < 0.001
    assert found.shown_by == "what they look like"
    confidence, looks = drawn(chance, 100)
    less = lapse(usual, confidence / 2, looks)
    assert (less.shown_by, less.less_sure) == ("how sure it is", True)
    assert lapse(Usual(usual.confidence, None), confidence / 2, None).p < less.p  # fewer things were looked at
    assert not lapse(usual, 1 - (1 - confidence) / 2, looks).less_sure


def test_of_few_pictures_nothing_is_said():
    chance = np.random.default_rng(0)
    usual = Usual(*drawn(chance, 150))
    assert lapse(usual, *drawn(chance, LEAST - 1, shift=9)) is None
    assert lapse(Usual(*drawn(chance, LEAST - 1)), *drawn(chance, 100)) is None
    assert lapse(usual, *drawn(chance, LEAST, shift=9)).p < LEVEL


def test_one_picture_without_a_number_silences_nothing():
    chance = np.random.default_rng(0)
    usual = Usual(*drawn(chance, 150))
    confidence, looks = drawn(chance, 100)
    confidence = confidence / 2
    confidence[3] = looks.distance[3] = looks.along[3] = np.nan
    found = lapse(usual, confidence, looks)
    assert found.p < 0.001
    assert (found.shown_by, found.less_sure) == ("how sure it is", True)
