"""The same picture twice, by its bytes, and where copies leak."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.members import Member
from pipeline.data.table import PictureTable

_END = 4096  # bytes: the end of a compressed file tells almost any two apart
_LEAK_COLUMNS = ("path", "split", "label", "other_path", "other_split", "other_label")


def leaks(table: PictureTable, *, most_files: int = 20_000) -> pd.DataFrame:
    """Pictures whose exact copy is in another split: a row a pair, its columns `_LEAK_COLUMNS`.

    Meant for the start of a training: only files of equal size in different splits are opened, and of those at
    most `most_files`; `attrs["unchecked"]` counts the rest. `explore` checks every picture, and near copies.
    """
    sizes = table.sizes()
    splits = table.rows["split"].cat.codes.to_numpy()
    rows, unchecked = _within_budget(_suspects(sizes, splits), sizes, most_files)
    ends = pd.Series(_digests(table, rows, end_only=True), dtype=object)
    rows = rows[ends.duplicated(keep=False).to_numpy(dtype=bool)]
    groups = pd.factorize(np.array(_digests(table, rows), dtype=object))[0]
    found = crossing(table, rows, groups)
    found = found[found["split"] != found["other_split"]].reset_index(drop=True)
    found.attrs["unchecked"] = unchecked
    return found


def crossing(table: PictureTable, rows: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Pairs of alike pictures that differ in split or label: `rows` (n,) of the table, alike by `groups` (n,).

    Each picture is paired with the first of its group, and with the first of each other split and label, so a
    group of k pictures gives at most about k pairs and never k squared.
    """
    facts = table.rows[["path", "split", "label"]].iloc[rows].astype("str").reset_index(drop=True)
    facts["group"] = groups
    facts = facts[facts["group"].duplicated(keep=False)]
    facts = facts.drop_duplicates(["group", "split", "label"])
    pairs = facts.merge(facts, on="group", suffixes=("", "_other"))
    pairs = pairs.rename(columns={f"{name}_other": f"other_{name}" for name in ("path", "split", "label")})
    differ = (pairs["split"] != pairs["other_split"]) | (pairs["label"] != pairs["other_label"])
    once = pairs["path"] < pairs["other_path"]
    return pairs.loc[differ & once, list(_LEAK_COLUMNS)].reset_index(drop=True)


def file_digest(data: bytes) -> str:
    """What two files share exactly when their bytes are the same."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _suspects(sizes: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Rows whose size occurs in more than one split; empty files are a matter of their own."""
    order = np.argsort(sizes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(sizes[order]) != 0]) if len(order) else np.empty(0, np.int64)
    low, high = (reduce.reduceat(splits[order], starts) for reduce in (np.minimum, np.maximum))
    several = np.repeat(low != high, np.diff(np.r_[starts, len(order)]))
    return order[several & (sizes[order] > 0)]


def _within_budget(rows: np.ndarray, sizes: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """As many whole groups of one size as the budget holds, and how many rows that leaves out."""
    if len(rows) <= most:
        return rows, 0
    ends = np.flatnonzero(np.diff(sizes[rows])) + 1
    cut = int(ends[np.searchsorted(ends, most, side="right") - 1]) if len(ends) and ends[0] <= most else most
    return rows[:cut], len(rows) - cut


def _digests(table: PictureTable, rows: np.ndarray, *, end_only: bool = False) -> list[str]:
    return [
        _digest(source, end_only) if isinstance(source, str) else file_digest(source.tobytes())
        for source in table.sources(rows)
    ]


def _digest(path: str, end_only: bool) -> str:
    try:
        if isinstance(path, Member):
            data = path.read()
            return f"{len(data)} {file_digest(data[-_END:] if end_only else data)}"
        if Path(path).is_file():  # a pipe would be waited at
            with Path(path).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _END) if end_only else 0)
                return f"{size} {file_digest(file.read())}"
    except OSError:
        pass
    return path  # like no other; reading it will say what is wrong
