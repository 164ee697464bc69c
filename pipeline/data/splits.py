"""Which pictures are trained on, which choose, which have the last word."""

import numpy as np
import pandas as pd

from pipeline.data.table import SPLITS, PictureTable
from pipeline.errors import BadInput


def split_table(table: PictureTable, *, val: float, test: float, seed: int = 0) -> PictureTable:
    """Give every picture a split.

    A split that the set brings stays as it is. A missing val or test is drawn from the pictures that are
    train's or nobody's: `val` and `test` are fractions of those, stratified by class, at least one picture of
    each class in each split; 0 leaves a split out. What is not drawn is train's. The rows, their order and
    `seed` decide.

    Raises `BadInput` where a class has too few pictures, or val or test shows a class that train does not.
    """
    given = table.rows["split"]
    drawn = {
        split: part for split, part in (("val", val), ("test", test)) if part and not (given == split).any()
    }
    if sum(drawn.values()) >= 1:
        raise BadInput(
            f"data.split: val={val} and test={test} leave nothing to train on; their sum must be below 1"
        )
    pool = np.flatnonzero((given.isna() | (given == "train")).to_numpy())
    codes = given.cat.codes.to_numpy(dtype=np.int8, copy=True)
    codes[pool] = SPLITS.index("train")
    labels = table.labels
    for split, chosen in _draw(table, labels[pool], drawn, seed).items():
        codes[pool[chosen]] = SPLITS.index(split)
    _check_train_has_all(table, labels, codes)
    return table.with_rows(table.rows.assign(split=pd.Categorical.from_codes(codes, categories=list(SPLITS))))


def _draw(
    table: PictureTable, labels: np.ndarray, parts: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """For each split to be drawn, which places of `labels` (n,) it gets."""
    if not parts:
        return {}
    counts = np.bincount(labels, minlength=len(table.classes))
    _check_counts(table, counts, list(parts))
    quotas = _leave_one(counts, {split: _quota(counts, part) for split, part in parts.items()})
    rank, order = _shuffled_within_class(labels, counts, seed)
    chosen, start = {}, np.zeros_like(counts)
    for split, quota in quotas.items():
        stop = start + quota
        chosen[split] = order[(rank >= start[labels[order]]) & (rank < stop[labels[order]])]
        start = stop
    return chosen


def _quota(counts: np.ndarray, part: float) -> np.ndarray:
    """How many of each class: the fraction, exact over all classes (largest remainders), at least 1."""
    wanted = counts * part
    quota = np.floor(wanted).astype(np.int64)
    missing = round(wanted.sum()) - quota.sum()
    quota[np.argsort(quota - wanted, kind="stable")[:missing]] += 1
    return np.maximum(quota, 1)


def _leave_one(counts: np.ndarray, quotas: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give back from the largest quota until each class leaves a picture for train."""
    table = np.stack(list(quotas.values()))
    while (over := np.flatnonzero(table.sum(axis=0) >= counts)).size:
        table[table[:, over].argmax(axis=0), over] -= 1
    return dict(zip(quotas, table, strict=True))


def _shuffled_within_class(
    labels: np.ndarray, counts: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places sorted by class, in random order within each, and the rank of each within its class."""
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    first = np.cumsum(counts) - counts
    return np.arange(len(labels)) - first[labels[order]], order


def _check_counts(table: PictureTable, counts: np.ndarray, drawn: list[str]) -> None:
    needed = len(drawn) + 1
    small = np.flatnonzero(counts < needed)
    if not small.size:
        return
    name, count = table.classes[small[0]], counts[small[0]]
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    others = f" (and {small.size - 1} more classes are as small)" if small.size > 1 else ""
    shares = ", ".join(["train", *drawn])
    raise BadInput(
        f"{table.root or table.name}: class {name!r} has {pictures} for {shares}{others}: "
        f"each needs {needed}; add some, drop the class, or set data.split.{drawn[-1]}=0"
    )


def _check_train_has_all(table: PictureTable, labels: np.ndarray, codes: np.ndarray) -> None:
    n_classes = len(table.classes)
    trained = np.bincount(labels[codes == SPLITS.index("train")], minlength=n_classes)
    for label in np.flatnonzero(trained == 0):
        elsewhere = np.flatnonzero(labels == label)
        where = SPLITS[codes[elsewhere[0]]] if elsewhere.size else "no split"
        raise BadInput(
            f"{table.root or table.name}: class {table.classes[label]!r} is in {where} but not in train; "
            "add pictures of it to train, or take the class away"
        )
