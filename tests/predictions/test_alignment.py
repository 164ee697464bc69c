from dataclasses import replace

import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.predictions.alignment import aligned


def test_pictures_in_another_order_are_put_right(make_predictions):
    one, other = make_predictions(seed=1), make_predictions(seed=1)
    shuffled = other.take(np.random.default_rng(0).permutation(len(other)))
    put_right = aligned({"one": one, "other": shuffled})["other"]
    np.testing.assert_array_equal(put_right.ids, one.ids)
    np.testing.assert_array_equal(put_right.logits, other.logits)


def test_what_does_not_belong_together_is_named(make_predictions):
    one = make_predictions(6, 3)

    def refused(other, match):
        with pytest.raises(BadInput, match=match):
            aligned({"first": one, "second": other})

    refused(make_predictions(6, 4), r"second has other classes than first \(adds species 3\)")
    refused(replace(one, classes=["species 1", "species 0", "species 2"]), "class 0 is species 1, not species 0")
    refused(make_predictions(5, 3), r"second has other pictures than first \(lacks 5.jpg\)")
    renamed = replace(one, ids=np.array([f"new {row}" for row in range(6)], dtype=object))
    refused(renamed, r"lacks 0.jpg, 1.jpg, 2.jpg and 3 more; adds new 0, new 1, new 2 and 3 more")
    refused(replace(one, labels=(one.labels + 1) % 3), "second labels 6 pictures otherwise than first")
    refused(one.take(np.array([0, 0, 1, 2, 3, 4])), "second holds 0.jpg more than once")
    refused(one.take(np.array([], dtype=int)), "second hold no picture")
    refused(replace(one, logits=one.logits * np.nan), "second hold NaN")


def test_no_member():
    with pytest.raises(BadInput, match="no run was chosen"):
        aligned({})
