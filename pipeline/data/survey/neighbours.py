"""Pictures that look alike to a network: the nearest by the cosine of their features."""

import numpy as np
import torch

_BLOCK = 256  # pictures asked at a time


def nearest(
    among: np.ndarray, asked: np.ndarray | None = None, *, count: int = 1, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture asked (m, d) the nearest of `among` (n, d), nearest first: places and cosines, (m, count) each.

    Features are centred by the mean of `among`, as what all pictures share says nothing. Without `asked`, each of
    `among` is, where neither itself counts nor one of its group: `groups` (n,) int64; -inf stands for no picture.
    """
    centre = among.mean(axis=0, dtype=np.float32)
    normal = _normal(among, centre)
    rows = normal if asked is None else _normal(asked, centre)
    own = torch.from_numpy(np.arange(len(among)) if groups is None else groups)
    count = min(count, len(among))
    places, cosines = np.zeros((len(rows), count), np.int64), np.zeros((len(rows), count), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(rows)))
        alike = rows[block] @ normal.T
        if asked is None:
            alike[own[block, None] == own[None]] = -torch.inf
        found = alike.topk(count)
        places[block], cosines[block] = found.indices.numpy(), found.values.numpy()
    return places, cosines


def _normal(values: np.ndarray, centre: np.ndarray) -> torch.Tensor:
    """Each row less the centre, at length one."""
    return torch.nn.functional.normalize(torch.from_numpy(values.astype(np.float32) - centre), eps=1e-12)
