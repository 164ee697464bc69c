"""What leaders answer differently, as photographs."""

import re

import numpy as np

from pipeline.evaluation.mistakes import disagreements
from pipeline.reporting.disagreements_page import disagreements_page


def test_pictures_come_by_who_is_right_the_surest_first(make_predictions):
    one, other = (make_predictions(80, 4, seed=2, signal=signal) for signal in (2.5, 0.5))
    places = disagreements([one, other])
    assert set(places) == set(np.flatnonzero(one.predicted != other.predicted))
    sure = (one.confidence + other.confidence)[places]
    assert (np.diff(sure) <= 1e-6).all()
    asked = []
    html = disagreements_page("birds", "test", {"one": one, "<b>other": other}, lambda paths: asked.append(paths) or {})
    kinds = [
        int((~one.correct & other.correct)[places].sum()), int((one.correct & ~other.correct)[places].sum()),
        int((~one.correct & ~other.correct)[places].sum()),
    ]  # fmt: skip
    told = [int(n) for n in re.findall(r"(\d+) pictures?; those come first", html)]
    assert told == [n for n in kinds if n]
    assert "<b>other" not in html
    first = str(one.ids[places[one.correct[places] & ~other.correct[places]][0]])
    assert first in asked[0]
    assert first in html


def test_where_all_agree_there_is_no_page(make_predictions):
    one = make_predictions(30, 3, seed=1)
    assert disagreements_page("birds", "test", {"one": one, "other": one}, lambda _: {}) is None
