"""Pictures that look alike, by perceptual hashes: of each as it is, of its mirror image and of its parts."""

from itertools import combinations, pairwise

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_BITS, _SIDE, _KEPT = 64, 32, 8  # the lowest 8 x 8 waves of 32 x 32 pixels
_FAINT = 128.0  # a wave that noise of two grey levels makes
_MIDDLES, _CORNER = (0.025, 0.05, 0.075, 0.1), 0.08  # cut off each side, or off two sides


def perceptual_hashes(pixels: torch.Tensor) -> np.ndarray | None:
    """Hashes of 64 bits (pHash: Zauner 2010) of a picture (3, s, s) uint8: (10,) uint64.

    The first is that of the picture as it is, the others are of its mirror image, of its middle at four sizes and
    of what is left without two of its sides. None where the picture is so even that noise decides most bits.
    """
    grey = ImageOps.grayscale(Image.fromarray(pixels.permute(1, 2, 0).numpy()))
    small = np.stack([
        np.asarray(grey.crop(box).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.float64)
        for box in _boxes(grey.width)
    ])  # fmt: skip
    small = np.concatenate([small[:1], small[:1, :, ::-1], small[1:]])
    waves = dctn(small, axes=(1, 2))[:, :_KEPT, :_KEPT].reshape(-1, _BITS)
    apart = waves - np.median(waves, axis=1, keepdims=True)
    if np.median(np.abs(apart[0])) < _FAINT:
        return None
    return np.packbits(apart > 0, axis=1).view(">u8").ravel().astype(np.uint64)


def _boxes(side: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of the whole, its middles and its corners."""
    middles = [(cut, cut, side - cut, side - cut) for cut in (max(1, round(share * side)) for share in _MIDDLES)]
    cut = max(1, round(_CORNER * side))
    corners = [(x, y, side - cut + x, side - cut + y) for y, x in ((0, 0), (0, cut), (cut, 0), (cut, cut))]
    return [(0, 0, side, side), *middles, *corners]


def near_groups(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Groups of pictures whose hashes (n, h) uint64 differ in at most `distance` bits, linked through others: (n,).

    Of two pictures one hash has to be the first, which is that of the whole: parts of two pictures are compared with
    no part. Not quadratic: cut into `distance + 2` bands, two hashes so near agree in at least two whole bands, so
    only those that share a pair of bands are compared (sorted by it, side by side), and of those only the ones not
    linked yet: thousands of frames of one scene are soon one group. Equal first hashes count once.
    """
    whole, owner = np.unique(hashes[:, 0], return_inverse=True)
    values = np.concatenate([whole, hashes[:, 1:].ravel()])
    owners = np.concatenate([np.arange(len(whole)), np.repeat(owner, hashes.shape[1] - 1)])
    groups = np.arange(len(whole))
    for key in _band_pairs(values, distance):
        groups = _linked(values, owners, key, distance, groups)
    return groups[owner]


def _linked(values: np.ndarray, owners: np.ndarray, key: np.ndarray, distance: int, groups: np.ndarray) -> np.ndarray:
    """The groups (g,) of `owners` (n,), those joined that have near `values` (n,) under one key.

    The first g values are those of wholes.
    """
    order = np.argsort(key, kind="stable")  # under each key, wholes come first
    starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    under = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(order)]))
    left, step = np.flatnonzero(order < len(groups)), 1
    pending: list[np.ndarray] = []
    while True:
        left = left[left + step < len(order)]
        left = left[under[left] == under[left + step]]
        one, other = order[left], order[left + step]
        apart = groups[owners[one]] != groups[owners[other]]
        one, other = one[apart], other[apart]
        near = np.bitwise_count(values[one] ^ values[other]) <= distance
        pending.append(owners[np.stack([one[near], other[near]])])
        # Now and then only, as joining goes over all values; with few links waiting, so that memory stays small.
        if not left.size or step & (step - 1) == 0 or sum(map(np.size, pending)) > len(values):
            groups, pending = _joined(groups, np.concatenate(pending, axis=1)), []
            low, high = (reduce.reduceat(groups[owners[order]], starts) for reduce in (np.minimum, np.maximum))
            left = left[(low != high)[under[left]]]  # under the other keys all are one group by now
        if not left.size:
            return groups
        step += 1


def _joined(groups: np.ndarray, links: np.ndarray) -> np.ndarray:
    """The groups (g,) with those made one that links (2, m) between owners connect."""
    graph = coo_array((np.ones(links.shape[1], bool), tuple(groups[links])), shape=(len(groups), len(groups)))
    return connected_components(graph, directed=False)[1][groups].astype(np.int64)


def _band_pairs(values: np.ndarray, distance: int) -> list[np.ndarray]:
    edges = np.linspace(0, _BITS, distance + 3).round().astype(int)
    masks = [sum(1 << bit for bit in range(a, b)) for a, b in pairwise(edges)]
    return [values & np.uint64(one | other) for one, other in combinations(masks, 2)]
