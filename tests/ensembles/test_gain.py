"""A gain that chance could make is none."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.common.errors import BadInput
from pipeline.ensembles.gain import measured, paired_gain
from pipeline.predictions.builder import PredictionsBuilder


def answers(right, classes=4, sure=4.0, start=0):
    """Predictions that are right where `right` says so, otherwise the next class."""
    labels = np.arange(len(right)) % classes
    said = np.where(right, labels, (labels + 1) % classes)
    logits = np.zeros((len(right), classes), dtype=np.float32)
    logits[np.arange(len(right)), said] = sure
    builder = PredictionsBuilder([f"class {number}" for number in range(classes)])
    builder.add([f"{start + number}.jpg" for number in range(len(right))], labels, logits)
    return builder.finish()


def pair(both, only_single, only_ensemble, neither):
    counts = (both, only_single, only_ensemble, neither)
    single = np.repeat([True, True, False, False], counts)
    ensemble = np.repeat([True, False, True, False], counts)
    order = np.random.default_rng(0).permutation(sum(counts))
    return single[order], ensemble[order]


@pytest.mark.parametrize(("only_single", "only_ensemble", "beyond"), [(0, 1, False), (2, 6, False), (1, 15, True)])
def test_accuracy_by_the_exact_test(only_single, only_ensemble, beyond):
    single, ensemble = pair(120, only_single, only_ensemble, 10)
    gain, p = paired_gain(answers(single), answers(ensemble))
    assert gain == pytest.approx((only_ensemble - only_single) / len(single))
    assert p == pytest.approx(binomtest(only_ensemble, only_single + only_ensemble).pvalue)
    assert (p < 0.05) == beyond


@pytest.mark.parametrize("measure", ["macro_f1", "balanced_accuracy", "log_loss"])
def test_the_others_by_swapping(measure):
    single, ensemble = pair(120, 0, 1, 10)
    gain, p = paired_gain(answers(single), answers(ensemble), measure)
    assert gain > 0
    assert p > 0.5
    single, ensemble = pair(120, 1, 19, 10)
    gain, p = paired_gain(answers(single), answers(ensemble), measure)
    assert gain > 0
    assert p < 0.01
    assert paired_gain(answers(ensemble), answers(single), measure)[0] == pytest.approx(-gain)


def test_of_twins_no_gain_is_found():
    single, _ = pair(20, 3, 4, 5)
    for measure in ("accuracy", "macro_f1", "log_loss"):
        assert paired_gain(answers(single), answers(single), measure) == (0, 1)
    assert [measured(one) for one in ("log_loss", "ece", "accuracy")] == ["log_loss", "accuracy", "accuracy"]


def test_other_pictures_are_no_pair():
    with pytest.raises(BadInput, match="the ensemble has other pictures than the network"):
        paired_gain(answers(np.ones(8, bool)), answers(np.ones(8, bool), start=8))
