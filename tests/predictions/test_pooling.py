import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.predictions.pooling import pool


def specimens(predictions, photographs=3):
    """Each label's pictures in threes."""
    seen, names = {}, []
    for label in predictions.labels:
        seen[label] = seen.get(label, -1) + 1
        names.append(f"specimen {label}-{seen[label] // photographs}")
    return names


@pytest.mark.parametrize("builder", [{}, {"dense_classes": 5, "largest": 25}])
def test_a_specimen_is_the_mean_of_its_pictures(make_predictions, builder):
    predictions = make_predictions(120, 30, **builder)
    names = specimens(predictions)
    pooled = pool(predictions, names)
    assert list(pooled.ids) == list(dict.fromkeys(names))
    every = predictions.spread(slice(0, 120))
    for row, name in enumerate(pooled.ids):
        mean = every[[place for place, one in enumerate(names) if one == name]].mean(axis=0)
        np.testing.assert_allclose(pooled.probabilities()[row].max(), mean.max(), rtol=1e-4)
        assert pooled.predicted[row] == mean.argmax()


def test_pooling_helps(make_predictions):
    predictions = make_predictions(600, 5)
    assert pool(predictions, specimens(predictions)).correct.mean() > predictions.correct.mean() + 0.1


def test_pictures_without_a_specimen_stand_for_themselves(make_predictions):
    predictions = make_predictions(20, 3)
    pooled = pool(predictions, [None] * 20)
    assert list(pooled.ids) == list(predictions.ids)
    np.testing.assert_allclose(pooled.probabilities(), predictions.probabilities(), atol=1e-6)


def test_one_specimen_has_one_label(make_predictions):
    predictions = make_predictions(20, 3)
    with pytest.raises(BadInput, match="specimen s is labelled species"):
        pool(predictions, ["s"] * 20)
