import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.evaluation.conformal import calibrate, set_summary
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.serving.calibrating import calibrated_on, calibrated_on_groups
from pipeline.serving.calibration import Calibration


def predictions(pictures, *, seed=0, sharpness=3.0, classes=6):
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, pictures)
    logits = chance.normal(size=(pictures, classes))
    logits[np.arange(pictures), labels] += 1.5
    builder = PredictionsBuilder([f"species {code}" for code in range(classes)])
    builder.add([f"{seed}/{row}.jpg" for row in range(pictures)], labels, sharpness * logits)
    return builder.finish()


def test_probabilities_mean_what_they_say_and_sets_keep_their_promise():
    val, test = predictions(2_000, seed=1), predictions(2_000, seed=2)
    made = calibrated_on(val)
    assert made.temperature > 1.5
    before, after = (expected_calibration_error(test.at_temperature(t)) for t in (1.0, made.temperature))
    assert after < 0.04 < before
    for coverage in (0.5, 0.8, 0.9, 0.99):
        rule = made.set_rule(coverage)
        assert rule == calibrate(val, coverage=coverage, temperature=made.temperature)
        kept = set_summary(rule.sets(test), test)["coverage"]
        if coverage > test.correct.mean():
            assert kept == pytest.approx(coverage, abs=0.03)
        else:  # one label alone, which every set holds, keeps more than that
            assert kept >= test.correct.mean()


def test_what_is_between_two_percents_gets_the_larger():
    made = calibrated_on(predictions(500))
    assert made.set_rule(0.901).coverage == 0.91
    assert made.set_rule(0.1).coverage == 0.5


def test_what_val_cannot_promise_is_refused():
    made = calibrated_on(predictions(10))
    assert made.set_rule(0.9).coverage == 0.9
    with pytest.raises(BadInput, match=r"coverage=0\.95 cannot be promised by this model: at most 0\.9"):
        made.set_rule(0.95)
    with pytest.raises(BadInput, match="for want of val pictures"):
        Calibration().set_rule(0.9)
    with pytest.raises(BadInput, match=r"coverage=1\.5: a share between 0 and 1"):
        made.set_rule(1.5)


@pytest.mark.parametrize("made", [Calibration(), Calibration(1.5), calibrated_on(predictions(300))])
def test_it_is_the_same_after_json(made):
    assert Calibration.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_answers_to_several_pictures_have_a_calibration_of_their_own():
    val = predictions(pictures=300)
    names = [None if place < 60 else f"specimen {label}-{place // 12}" for place, label in enumerate(val.labels)]
    made = calibrated_on_groups(val, names)
    assert made is not None
    single = calibrated_on(val)
    assert made.temperature < single.temperature  # a mean of four is surer than it says
    whole = replace(single, groups=made)
    assert Calibration.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    assert calibrated_on_groups(val, [None] * 300) is None
