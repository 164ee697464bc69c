"""How the answers to a setting are told."""

import pytest

from pipeline.comparison.settings import STATED, Setting


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("0.0001", "0.001"), "0.0001, 0.001"),
        (tuple(str(n / 10) for n in range(1, 9)), "0.1 to 0.8, 8 values"),
        (tuple("abcdefgh"), "a, b, c, d, e, f, g, h"),
    ],
)
def test_many_numbers_are_told_by_their_ends(values, said):
    assert Setting("optimizer.lr", values, STATED).said == said
