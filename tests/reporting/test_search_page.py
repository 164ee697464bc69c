import pandas as pd
import pytest

from pipeline.reporting.search_page import Confirmed, Found, search_page


def test_how_much_a_search_flattered_itself_has_an_interval():
    found = Confirmed(0.9, [0.86, 0.88, 0.84])
    assert found.flattered == pytest.approx(0.04)
    assert found.interval() == pytest.approx((0.04 - 0.04968, 0.04 + 0.04968), abs=1e-4)  # t of 2: 4.303, sd 0.02
    assert "flattered itself by 0.0400 (95 % interval -0.0097 to +0.0897)" in found.told()
    assert Confirmed(0.3, [0.4], lower=True).flattered == pytest.approx(0.1)  # of a loss
    assert "too few for an interval" in Confirmed(0.3, [0.4], lower=True).told()
    assert "did not flatter itself (-0.0100" in Confirmed(0.8, [0.81]).told()
    assert "the seed changes nothing here" in Confirmed(0.8, [0.8, 0.8]).told()


def test_the_page_shows_trials_of_all_kinds_and_what_hangs_on_a_choice():
    trials = pd.DataFrame(
        {
            "trial": [1, 2, 3, 4], "state": ["complete", "complete", "pruned", "fail"], "value": [0.5, 0.7, 0.1, None],
            "head": ["linear", "mlp<b>", "mlp", "linear"], "head.C": [0.1, None, None, 1.0], "minutes": [1.0] * 4,
            "run": ["a", "b", "", ""],
        }
    )  # fmt: skip
    html = search_page(
        Found("best/val_accuracy", False, trials, ["head", "head.C"], {"head.C"}, {"head": 1.0}, ["head=mlp"], None)
    )
    assert "0.7000" in html
    assert "mlp&lt;b&gt;" in html
    assert "Not every trial had head.C" in html
    assert "Not confirmed by fresh seeds" in html
    assert "python -m pipeline.train head=mlp" in html
