"""What a table holds, in figures: its fingerprint, its counts, the weights its imbalance suggests."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.table import SPLITS, PictureTable, chunks


def data_digest(table: PictureTable) -> str:
    """Sixteen hex digits that change with any picture's id, label, split or size.

    Where the set lies does not count; of pictures in memory the pixels themselves do.
    """
    digest = hashlib.sha256()
    digest.update(repr(table.classes).encode())
    for number, paths in enumerate(chunks(table.rows["path"])):
        digest.update(("\0" * (number > 0) + "\0".join(paths)).encode())
    digest.update(table.labels.astype("<i8").tobytes())
    digest.update(table.rows["split"].cat.codes.to_numpy(dtype=np.int8).tobytes())
    digest.update(np.ascontiguousarray(table.pixels if table.pixels is not None else _sizes(table)).tobytes())
    return digest.hexdigest()[:16]


def class_counts(table: PictureTable) -> pd.DataFrame:
    """Pictures of each class (rows, in the classes' order) in each split (columns `train`, `val`, `test`)."""
    codes = table.rows["split"].cat.codes.to_numpy()
    labels = table.labels
    counts = {
        split: np.bincount(labels[codes == number], minlength=len(table.classes)) for number, split in enumerate(SPLITS)
    }
    return pd.DataFrame(counts, index=pd.Index(table.classes, name="label"))


def class_weights(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """(n_classes,) float64 weights that make every class count the same.

    n / (classes seen * pictures of the class), scikit-learn's `balanced`; 0 for a class not in `labels` (n,).
    """
    counts = np.bincount(labels, minlength=n_classes)
    seen = counts > 0
    return np.divide(len(labels), counts * seen.sum(), out=np.zeros(n_classes), where=seen)


def _sizes(table: PictureTable) -> np.ndarray:
    """(n,) int64 bytes of each file, 0 for one that is not there; the source may have noted them already."""
    if "bytes" in table.rows:
        return table.rows["bytes"].to_numpy(dtype="<i8")
    root = table.root or Path()
    return np.array([_size(root / path) for path in table.rows["path"]], dtype="<i8")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def content_digest(table: PictureTable, rows: np.ndarray) -> str:
    """Sixteen hex digits of which pictures `rows` are, in this order.

    Unlike `data_digest` it says nothing of labels and splits, and sees a picture that was edited in place.
    """
    return hashlib.sha256(picture_digests(table, rows).tobytes()).hexdigest()[:16]


def picture_digests(table: PictureTable, rows: np.ndarray) -> np.ndarray:
    """(n,) uint64, a number for each picture of `rows` (n,): where it lies, its size and when it was written.

    Of pictures in memory, the pixels themselves.
    """
    if table.pixels is not None:
        return _numbers(pixels.tobytes() for pixels in table.pixels[rows])
    root = (table.root or Path()).absolute()
    files = (root / path for path in table.rows["path"].to_numpy()[rows])
    return _numbers(f"{file}\0{_written(file)}".encode() for file in files)


def _numbers(texts: Iterable[bytes]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8")


def _written(file: Path) -> tuple[int, int]:
    try:
        facts = file.stat()
    except OSError:
        return (0, 0)
    return (facts.st_size, facts.st_mtime_ns)
