"""How strange a picture is: the promise to known ones, and what tells the others."""

import numpy as np
import pytest
from conftest import random_predictions

from pipeline.common.errors import BadInput
from pipeline.evaluation.strangeness import Strangeness, softened, strangeness_on, too_strange


def test_at_most_the_promised_share_of_known_pictures_is_sent_away():
    chance, pool = np.random.default_rng(0), random_predictions(6_000, 12, signal=2.5)
    distance = chance.normal(size=len(pool))
    away = {0.05: [], 0.2: []}
    for _ in range(200):
        order = chance.permutation(len(pool))
        val, check = order[:100], order[100:1100]
        rule = strangeness_on(pool.take(val), distance[val])
        strange = rule.of(softened(pool.take(check)), distance[check])
        for share, seen in away.items():
            seen.append((strange > rule.sends_away(share)[1]).mean())
    for share, seen in away.items():
        error = np.std(seen) / np.sqrt(len(seen))
        assert share - 0.015 < np.mean(seen) <= share + 2 * error


def test_either_sign_is_enough():
    val, chance = random_predictions(400, 12, signal=6), np.random.default_rng(0)
    rule = strangeness_on(val, chance.normal(0.2, 0.02, len(val)))
    _, threshold = rule.sends_away(None)
    doubtful, far, usual = rule.of(np.array([0.1, 0.99, 0.99]), np.array([0.2, 0.9, 0.2]))
    assert min(doubtful, far) > threshold > usual
    assert list(too_strange(np.array([far, usual, np.nan]), threshold)) == [True, False, True]


def test_a_rule_is_the_same_when_it_is_read_back():
    val = random_predictions(60)
    for distance in (None, np.linspace(0, 1, 60)):
        rule = strangeness_on(val, distance)
        assert Strangeness.from_dict(rule.to_dict()) == rule


def test_what_so_few_pictures_cannot_promise_is_told():
    rule = strangeness_on(random_predictions(9), None)
    assert rule.sends_away(None)[0] == 0.1  # the least that nine can promise
    assert rule.sends_away(0.155)[0] == 0.15
    with pytest.raises(BadInput, match=r"known_sent_away=0\.05: this model cannot promise .* at least 0\.1"):
        rule.sends_away(0.05)
    with pytest.raises(BadInput, match=r"known_sent_away=0\.6: this model knows shares up to 0\.5"):
        rule.sends_away(0.6)
    with pytest.raises(BadInput, match="a share between 0 and 1"):
        rule.sends_away(1.0)
