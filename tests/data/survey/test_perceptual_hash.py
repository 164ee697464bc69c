from itertools import combinations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.survey.perceptual_hash import near_groups, perceptual_hashes


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 63), max_size=7)), max_size=12),
    st.integers(0, 6),
    st.integers(1, 3),
)
def test_near_groups_are_those_of_comparing_all(
    seeds: list[int], changed: list[tuple[int, set[int]]], distance: int, a_picture: int
) -> None:
    values = seeds + [seeds[n % len(seeds)] ^ sum(1 << bit for bit in bits) for n, bits in changed]
    pictures = [values[at : at + a_picture] for at in range(len(values) - a_picture + 1)]
    groups = near_groups(np.array(pictures or [values[:1]], np.uint64), distance)
    expected = list(range(max(len(pictures), 1)))
    for i, j in combinations(range(len(pictures)), 2):
        pairs = [(pictures[i][0], other) for other in pictures[j]] + [(pictures[j][0], one) for one in pictures[i]]
        if any((one ^ other).bit_count() <= distance for one, other in pairs):
            expected = [expected[j] if group == expected[i] else group for group in expected]
    same = [[a == b for b in expected] for a in expected]
    assert (groups[:, None] == groups[None, :]).tolist() == same


def test_parts_of_two_pictures_are_not_compared() -> None:
    groups = near_groups(np.array([[1, 2**40 - 1], [2**60 - 1, 2**40 - 1]], np.uint64), 4)
    assert len(set(groups.tolist())) == 2


def test_an_even_picture_has_no_hash() -> None:
    slope = torch.linspace(90, 110, 64).expand(3, 64, 64)
    noise = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for even in (torch.full((3, 64, 64), 128.0), 128 + noise, slope + noise):
        assert perceptual_hashes(even.to(torch.uint8)) is None
    coarse = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    hashes = perceptual_hashes(torch.from_numpy(coarse).repeat_interleave(8, 1).repeat_interleave(8, 2))
    assert hashes is not None
    assert hashes.shape == (10,)
