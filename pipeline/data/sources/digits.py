"""The 1,797 scanned digits inside scikit-learn (Alpaydin and Kaynak 1998): nothing to fetch."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.table import SPLITS, PictureTable

_SIDE = 8
_WHITE = 16  # the brightest value in the file


def read(*, name: str | None = None, root: str | None = None, on_unreadable: str = "raise") -> PictureTable:
    """1,797 grey pictures of 8x8 pixels held in memory, (n, 8, 8, 3) uint8; ten classes, no splits."""
    if root is not None:
        raise BadInput("data.root: the digits lie inside scikit-learn; leave it out, or use data=folder")
    values, digits = _packaged()
    grey = (values.reshape(-1, _SIDE, _SIDE) * 255 // _WHITE).astype(np.uint8)
    classes = [str(digit) for digit in range(10)]
    rows = pd.DataFrame(
        {
            "path": [f"digits/{number:04d}" for number in range(len(digits))],
            "label": pd.Categorical.from_codes(digits, categories=classes),
            "split": pd.Categorical([None] * len(digits), categories=SPLITS),
        }
    )
    return PictureTable(name=name or "digits", rows=rows, pixels=np.repeat(grey[..., None], 3, axis=-1))


def _packaged() -> tuple[np.ndarray, np.ndarray]:
    """Values 0..16, (n, 64), and digits, (n,).

    Read from scikit-learn's own file: `sklearn.datasets.load_digits` gives the same, 1.6 s of imports later.
    """
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise BadInput("data=digits: scikit-learn is not installed; install the project's requirements.txt")
    file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",").astype(np.int64)
    return table[:, :-1], table[:, -1]
