"""What a table holds, in figures: its fingerprint, its counts, the weights its imbalance suggests."""

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from pipeline.data.contents import content_digests, file_states, mixed
from pipeline.data.table import SPLITS, PictureTable, chunks

CONTENT_FORM = "2-"  # how a `data_digest` begins that is of contents; earlier ones were of sizes
MOST_FILES, MOST_BYTES = 400_000, 100e9  # sets beyond are not read through to be known by what they hold


def data_digest(table: PictureTable) -> str:
    """`2-` and sixteen hex digits that change with any picture's id, label, split or content.

    Where the set lies does not count, nor do boxes: runs that look at these are compared with others. Sets beyond
    `MOST_FILES` or `MOST_BYTES` are not read through: of their
    pictures the sizes count, and there is no `2-`; nor is there for pictures in memory, of which the pixels do.
    """
    digest = hashlib.sha256()
    digest.update(repr(table.classes).encode())
    for number, paths in enumerate(chunks(table.rows["path"])):
        digest.update(("\0" * (number > 0) + "\0".join(paths)).encode())
    digest.update(table.labels.astype("<i8").tobytes())
    digest.update(table.rows["split"].cat.codes.to_numpy(dtype=np.int8).tobytes())
    if table.pixels is not None:
        facts, form = table.pixels, ""
    elif by_content(table):
        facts, form = _held(table, np.arange(len(table.rows))), CONTENT_FORM
    else:
        facts, form = table.sizes(), ""
    digest.update(np.ascontiguousarray(facts).tobytes())
    return form + digest.hexdigest()[:16]


def by_content(table: PictureTable) -> bool:
    """Whether pictures are known by what they hold: those of very large sets are not read through."""
    return table.in_memory or _few_enough(table.sizes())


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


def content_digest(table: PictureTable, rows: np.ndarray) -> str:
    """Sixteen hex digits of which pictures `rows` are, in this order.

    Unlike `data_digest` it says nothing of labels and splits, and sees a picture that was edited in place.
    """
    return hashlib.sha256(picture_digests(table, rows).tobytes()).hexdigest()[:16]


def picture_digests(table: PictureTable, rows: np.ndarray) -> np.ndarray:
    """(n,) uint64, a number for what each picture of `rows` (n,) holds, wherever it lies and whatever it is called.

    Beyond `MOST_FILES` or `MOST_BYTES`, which are not read through, a number for where it lies, its inode, its size
    and when it was last changed; for a file that cannot be read, one for its name. Where boxes are looked at, a picture
    with another box is another.
    """
    found = _held(table, rows)
    if table.boxes is None:
        return found
    some = np.ascontiguousarray(table.boxes[rows], np.float32)
    apart = mixed(np.column_stack([found, some.view(np.uint32).astype(np.uint64)]))
    return np.where(np.isnan(some).any(axis=1), found, apart)


def _held(table: PictureTable, rows: np.ndarray) -> np.ndarray:
    """(n,) uint64 of whole pictures."""
    if table.pixels is not None:
        return _numbers(pixels.tobytes() for pixels in table.pixels[rows])
    files, names = list(table.sources(rows)), table.files.array.take(rows)
    states = file_states(files)
    if not _few_enough(states[:, 2]):
        return mixed(np.column_stack([_numbers(file.encode(errors="surrogateescape") for file in files), states]))
    found = content_digests(files, states)
    lost = np.flatnonzero(found == 0)
    found[lost] = _numbers(f"not read\0{names[place]}".encode(errors="surrogateescape") for place in lost)
    return found


def view_identities(digests: np.ndarray) -> np.ndarray:
    """(n,) uint64 that differ for the copies of one picture in digests (n,), so that chance treats each otherwise.

    A picture's first copy has the same one in every table.
    """
    copy = pd.Series(digests).groupby(digests).cumcount().to_numpy(np.uint64)
    return np.where(copy > 0, mixed(np.column_stack([digests, copy])), digests)


def _few_enough(sizes: np.ndarray) -> bool:
    return len(sizes) <= MOST_FILES and float(sizes.sum(dtype=np.float64)) <= MOST_BYTES


def _numbers(texts: Iterable[bytes]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8")
