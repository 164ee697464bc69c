"""Features of known pictures: class means, axes, and the file that holds them."""

import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.evaluation.familiar import AXES, Familiar, read_familiar, together, write_familiar

LABELS = np.repeat([0, 2], 50)  # nothing of class 1 is known
NONE = np.zeros((100, 3), np.float32)  # scores, which matter where there are many classes


def pictures(width, *, seed=0, negative=False):
    chance = np.random.default_rng(seed)
    values = chance.gamma(2, size=(100, width)).astype(np.float32)
    values[50:, : width // 2] *= 4
    return values - 1 if negative else values


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("width", [40, 300])  # fewer and more than pictures
def test_pictures_of_known_classes_are_nearer_than_others(width, negative):
    known = Familiar.of(pictures(width, negative=negative), LABELS, 3)
    assert known.rooted is not negative
    assert known.axes.shape == (AXES, width)
    np.testing.assert_allclose(known.axes @ known.axes.T, np.eye(AXES), atol=1e-3)
    own = known.looks(pictures(width, seed=1, negative=negative), NONE)
    others = known.looks(np.roll(pictures(width, seed=1, negative=negative), width // 4, axis=1)[50:], NONE[50:])
    assert own.distance[50:].mean() < others.distance.mean()
    # The first axis is along what sets the two classes apart.
    first = own.along[:, 0]
    assert abs(first[:50].mean() - first[50:].mean()) > 2 * first[:50].std()


def test_it_is_read_back_as_it_was_written(tmp_path):
    known, values = Familiar.of(pictures(40), LABELS, 3), pictures(40, seed=1)
    write_familiar(tmp_path / "new" / "known", known, {"val.distance": known.looks(values, NONE).distance})
    again, arrays = read_familiar(tmp_path / "new" / "known")
    np.testing.assert_allclose(again.looks(values, NONE).distance, arrays["val.distance"], atol=1e-3)
    np.testing.assert_array_equal(again.looks(values, NONE).along, known.looks(values, NONE).along)
    write_familiar(tmp_path / "bare", None, {"val.confidence": np.ones(3)})
    assert read_familiar(tmp_path / "bare")[0] is None
    whole = (tmp_path / "bare").read_bytes()
    (tmp_path / "bare").write_bytes(whole[:-5])
    with pytest.raises(BadInput, match="bare is missing or damaged"):
        read_familiar(tmp_path / "bare")


def test_what_was_seen_of_some_and_of_others_stands_in_order():
    known, values = Familiar.of(pictures(40), LABELS, 3), pictures(40, seed=1)
    both = together([known.looks(values[:30], NONE[:30]), known.looks(values[30:], NONE[30:])])
    np.testing.assert_allclose(both.distance, known.looks(values, NONE).distance, rtol=1e-4)
    np.testing.assert_array_equal(both.take(np.array([2])).along, both.along[2:3])


def test_of_many_classes_the_likeliest_are_compared_with():
    values, chance = pictures(40), np.random.default_rng(0)
    known = Familiar.of(values, np.arange(100), 100)  # each picture is its class's mean
    scores = chance.normal(size=(100, 100)).astype(np.float32)
    scores[np.arange(99), np.arange(99)] = 5
    scores[99, 99] = -5
    distance = known.looks(values, scores).distance
    np.testing.assert_allclose(distance[:99], 0, atol=1e-5)
    assert distance[99] > 0.01
