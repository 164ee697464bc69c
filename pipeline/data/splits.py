"""Which pictures are trained on, which choose, which have the last word.

Pictures that belong together (of one specimen, say) are drawn together: what is drawn are units, a picture each
or a group each, stratified by class.
"""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import counted
from pipeline.data.files import check_cells
from pipeline.data.table import SPLITS, PictureTable

SmallClasses = Literal["raise", "drop", "train_only"]
log = logging.getLogger(__name__)
_TRAIN, _VAL, _TEST = range(len(SPLITS))


def split_table(
    table: PictureTable,
    *,
    val: float,
    test: float,
    seed: int = 0,
    group: str | None = None,
    folds: int | None = None,
    fold: int = 0,
    small_classes: SmallClasses = "raise",
) -> PictureTable:
    """Give every picture a split.

    A split that the set brings stays as it is. A missing val or test is drawn from the pictures that are
    train's or nobody's: `val` and `test` are fractions of those, stratified by class, at least one picture of
    each class in each split; 0 leaves a split out. What is not drawn is train's. The rows, their order and
    `seed` decide.

    `group` names a column: pictures with the same value there are never on two sides, and fractions are of
    groups; a picture without a value stands alone. With `folds`, all that is not test is dealt out in so many
    parts, alike in classes, and part number `fold` is val. `small_classes` is what becomes of a class with too
    few pictures (groups) to be in every split: an error, its removal, or all of them to train.

    Raises `BadInput` where a class has too few pictures, val or test shows a class that train does not, or a
    split that the set brings tears a group apart.
    """
    _check_folds(folds, fold, val, test)
    _tell_unsplit(table)
    groups = None if group is None else group_codes(table, group)
    parts, drawn, pool, units = _to_draw(table, groups, val=val, test=test, folds=folds)
    small = _too_small(units, drawn)
    if small_classes == "drop" and (small := small | (units.counts == 0)).any():
        return split_table(_dropped(table, small), val=val, test=test, seed=seed, group=group, folds=folds, fold=fold)
    if small_classes == "raise" and small.any():
        raise BadInput(_too_few(table, units, small, drawn=drawn, group=group))
    if folds is not None and folds > len(units.labels):
        what = "pictures" if group is None else f"groups of {group!r}"
        raise BadInput(f"data.split.folds: {folds} folds cannot be made of {len(units.labels):,} {what}; 5, say")
    codes = table.rows["split"].cat.codes.to_numpy(dtype=np.int8, copy=True)
    codes[pool] = _drawn(units, parts, small, seed=seed, folds=folds, fold=fold)[units.of_picture]
    _check_train_has_all(table, codes)
    if groups is not None:
        _check_groups(table, groups, codes, str(group))
    return table.with_rows(table.rows.assign(split=pd.Categorical.from_codes(codes, categories=list(SPLITS))))


def too_small_classes(
    table: PictureTable, *, val: float, test: float, group: str | None = None, folds: int | None = None
) -> list[str]:
    """Those that have too few pictures (groups) for `split_table` to put some into each split."""
    groups = None if group is None else group_codes(table, group)
    _, drawn, _, units = _to_draw(table, groups, val=val, test=test, folds=folds)
    return [name for name, small in zip(table.classes, _too_small(units, drawn), strict=True) if small]


def _tell_unsplit(table: PictureTable) -> None:
    """Say how many pictures have no split where train is named too, so that somebody may have forgotten them."""
    split = table.rows["split"]
    if split.isna().any() and (split == "train").any():
        unsplit = table.rows["path"][split.isna()]
        log.warning(
            "warning: %s of %s no split and count as of train: %s%s", counted(len(unsplit), "picture"),
            f"{table.name} have" if len(unsplit) > 1 else f"{table.name} has", unsplit.iloc[0],
            ", ..." if len(unsplit) > 1 else "",
        )  # fmt: skip


def _to_draw(
    table: PictureTable, groups: np.ndarray | None, *, val: float, test: float, folds: int | None
) -> tuple[dict[str, float], list[str], np.ndarray, "Units"]:
    """The splits that fractions are drawn for, those that are drawn or dealt, the rows they come from, in units."""
    given = table.rows["split"]
    wanted = {"val": 0 if folds else val, "test": test}
    parts = {split: part for split, part in wanted.items() if part and not (given == split).any()}
    if sum(parts.values()) >= 1:
        raise BadInput(f"data.split: val={val} and test={test} leave nothing to train on; their sum must be below 1")
    pool = np.flatnonzero((given.isna() | given.isin(["train"] if folds is None else ["train", "val"])).to_numpy())
    return parts, [*parts, *(["val"] if folds else [])], pool, _units(table, pool, groups)


def _too_small(units: "Units", drawn: list[str]) -> np.ndarray:
    """(n_classes,) whether a class has fewer units than there are splits to be in."""
    return units.counts < (len(drawn) + 1 if drawn else 0)


def _dropped(table: PictureTable, small: np.ndarray) -> PictureTable:
    kept = [name for name, leaves in zip(table.classes, small, strict=True) if not leaves]
    if len(kept) < 2:
        raise BadInput(
            f"data.small_classes=drop: too few of {len(table.classes)} classes are left ({len(kept)}; it takes 2); "
            "add pictures, or hold out fewer splits"
        )
    return table.with_classes(kept)


@dataclass(frozen=True)
class Units:
    """What is drawn: `labels` (u,) is each unit's class, `of_picture` (n,) each picture's unit."""

    labels: np.ndarray
    of_picture: np.ndarray
    n_classes: int

    @property
    def counts(self) -> np.ndarray:
        """(n_classes,) units of each class."""
        return np.bincount(self.labels, minlength=self.n_classes)


def _units(table: PictureTable, pool: np.ndarray, groups: np.ndarray | None) -> Units:
    """Each picture for itself, or each group, which counts as of the class that most of its pictures show."""
    labels, n_classes = table.labels[pool], len(table.classes)
    if groups is None:
        return Units(labels, np.arange(len(pool)), n_classes)
    _, first, of_picture = np.unique(groups[pool], return_index=True, return_inverse=True)
    pairs, counts = np.unique(of_picture * n_classes + labels, return_counts=True)
    best = np.lexsort((pairs, -counts, pairs // n_classes))  # by group, its most frequent class first
    _, starts = np.unique(pairs[best] // n_classes, return_index=True)
    # Units in the order in which they are first met, so that names do not decide.
    order = np.argsort(np.argsort(first))
    by_unit = np.empty(len(first), dtype=np.int64)
    by_unit[order] = pairs[best][starts] % n_classes
    return Units(by_unit, order[of_picture], n_classes)


def group_codes(table: PictureTable, group: str) -> np.ndarray:
    """(n,) a number a group; a picture without a value is a group of its own."""
    if group not in table.further:
        known = did_you_mean(group, table.further) or "; it has no further columns"
        raise BadInput(f"data.split.group: {table.name} has no column {group!r} to group by{known}")
    values = table.rows[group]
    check_cells(values, f"data.split.group: {table.name}")
    if values.dtype == "str":
        values = values.str.strip().replace("", None)
    codes, _ = pd.factorize(values)
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    return codes


def _drawn(
    units: Units, parts: dict[str, float], small: np.ndarray, *, seed: int, folds: int | None, fold: int
) -> np.ndarray:
    """(u,) the split of each unit; small classes stay with train."""
    codes = np.full(len(units.labels), _TRAIN, dtype=np.int8)
    counts = units.counts
    rank, order = _shuffled_within_class(units.labels, counts, seed)
    classes = units.labels[order]
    start = np.zeros_like(counts)
    if parts:
        quotas = {split: np.where(small, 0, _quota(counts, part)) for split, part in parts.items()}
        for split, quota in _leave(np.where(small, 1, counts), quotas, 1 if folds is None else 2).items():
            chosen = (rank >= start[classes]) & (rank < (start + quota)[classes])
            codes[order[chosen]] = SPLITS.index(split)
            start = start + quota
    if folds is not None:
        left = order[(rank >= start[classes]) & ~small[classes]]
        # Dealt out class after class: no class and no whole differs by more than one between two folds.
        codes[left[np.arange(len(left)) % folds == fold]] = _VAL
    return codes


def _quota(counts: np.ndarray, part: float) -> np.ndarray:
    """How many of each class: the fraction, exact over all classes (largest remainders), at least 1."""
    wanted = counts * part
    quota = np.floor(wanted).astype(np.int64)
    missing = round(wanted.sum()) - quota.sum()
    quota[np.argsort(quota - wanted, kind="stable")[:missing]] += 1
    return np.maximum(quota, 1)


def _leave(counts: np.ndarray, quotas: dict[str, np.ndarray], least: int) -> dict[str, np.ndarray]:
    """Give back from the largest quota until each class leaves `least` of its `counts`."""
    table = np.stack(list(quotas.values()))
    while (over := np.flatnonzero((table.sum(axis=0) > counts - least) & (table.sum(axis=0) > 0))).size:
        table[table[:, over].argmax(axis=0), over] -= 1
    return dict(zip(quotas, table, strict=True))


def _shuffled_within_class(labels: np.ndarray, counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places sorted by class, in random order within each, and the rank of each within its class."""
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    first = np.cumsum(counts) - counts
    return np.arange(len(labels)) - first[labels[order]], order


def _check_folds(folds: int | None, fold: int, val: float, test: float) -> None:
    if folds is not None and folds < 2:
        raise BadInput(f"data.split.folds: {folds} is too few; it takes 2 or more, 5 say")
    if not 0 <= fold < (folds or 1):
        raise BadInput(
            f"data.split.fold: there is no fold {fold}; "
            + (f"with data.split.folds={folds} it is 0 to {folds - 1}" if folds else "set data.split.folds first")
        )
    if not (0 <= val < 1 and 0 <= test < 1):
        raise BadInput(f"data.split: val={val} and test={test}: each is a fraction, at least 0 and below 1")


def _too_few(table: PictureTable, units: Units, small: np.ndarray, *, drawn: list[str], group: str | None) -> str:
    places = np.flatnonzero(small)
    name, count = table.classes[places[0]], units.counts[places[0]]
    unit = "picture" if group is None else f"group of {group!r}"
    counted = f"1 {unit}" if count == 1 else f"{count} {unit.replace('group', 'groups')}{'s' * (group is None)}"
    others = f" (and {len(places) - 1} more classes are as small)" if len(places) > 1 else ""
    shared = "" if group is None else " (a group counts for the class that most of its pictures show)"
    return (
        f"{table.root or table.name}: class {name!r} has {counted} for {', '.join(['train', *drawn])}{others}: "
        f"each needs {len(drawn) + 1}{shared}; add some, say data.small_classes=drop or train_only, or hold out fewer "
        "splits" + (f" (data.split.{drawn[-1]}=0)" if drawn[-1] == "test" else "")
    )


def _check_train_has_all(table: PictureTable, codes: np.ndarray) -> None:
    labels, n_classes = table.labels, len(table.classes)
    trained = np.bincount(labels[codes == _TRAIN], minlength=n_classes)
    for label in np.flatnonzero(trained == 0):
        elsewhere = np.flatnonzero(labels == label)
        where = SPLITS[codes[elsewhere[0]]] if elsewhere.size else "no split"
        raise BadInput(
            f"{table.root or table.name}: class {table.classes[label]!r} is in {where} but not in train; "
            "add pictures of it to train, or take the class away (data.small_classes=drop)"
        )


def _check_groups(table: PictureTable, groups: np.ndarray, codes: np.ndarray, group: str) -> None:
    sides = np.unique(np.stack([groups, codes]), axis=1)
    torn = np.flatnonzero(np.diff(sides[0]) == 0)
    if torn.size:
        value = table.rows[group].iloc[np.flatnonzero(groups == sides[0, torn[0]])[0]]
        splits = " and ".join(SPLITS[code] for code in sides[1, torn[0] : torn[0] + 2])
        more = f" ({torn.size} such)" if torn.size > 1 else ""
        raise BadInput(
            f"data.split.group: {group}={value!r} is in {splits}{more}, as {table.root or table.name} brings its "
            "splits; put it on one side, or leave out the split column"
        )
