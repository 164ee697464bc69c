"""From what a source lists to a table that can be trusted: every row is a file under the root, with one label."""

import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.files import not_a_file
from pipeline.data.members import TAR
from pipeline.data.shards import places_in_tars
from pipeline.data.table import OWN_COLUMNS, PICTURE, SPLITS, PictureTable, chunks
from pipeline.data.unlisted import tell_unlisted

OnUnreadable = Literal["raise", "skip"]
# What people call the splits, lower case.
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_SHOWN = 5
# Accents of Latin, Greek and Cyrillic letters; other scripts' marks tell words apart.
_ACCENTS = re.compile("[\u0300-\u036f]")
# Parts that make two texts of one path, or lead out of the root.
_ODD_PATH = r"^/|(?:^|/)\.{0,2}(?:/|$)"

log = logging.getLogger(__name__)


def trusted_table(
    listed: pd.DataFrame,
    *,
    name: str,
    root: Path,
    source: str,
    on_unreadable: OnUnreadable = "raise",
    classes: Sequence[str] | None = None,
    taxonomy: pd.DataFrame | None = None,
    look_for_others: bool = False,
) -> PictureTable:
    """The table of `listed`: columns `path`, `label`, any others; perhaps `split` (as people name it), `picture_path`.

    `source` is how messages name what was read. The classes are those of `classes` (default: sorted) that have
    pictures. A picture without a label, listed twice, outside `root` or not there raises `BadInput`, or with
    `on_unreadable="skip"` is left out and told of in `skipped`. With `look_for_others`, pictures under `root` that
    are not listed are counted (`unlisted`) and named.
    """
    rows = listed.reset_index(drop=True)
    rows["label"] = _stripped(rows["label"])
    rows["split"] = split_column(rows.get("split"), len(rows), source)
    for column in {"path", PICTURE}.intersection(rows):
        rows[column] = _within(rows[column].astype("str"), root)
    skipped: dict[str, str] = {}
    named = rows.get(PICTURE, rows["path"])
    rows = _without(rows, _unnamed(rows), source, on_unreadable, skipped)
    rows = _without(rows, _outside(rows), source, on_unreadable, skipped)
    rows = _without(rows, _conflicts(rows), source, on_unreadable, skipped)
    rows = _once_each(rows)
    rows, reasons = _weighed(rows, root)
    rows = _without(rows, reasons, source, on_unreadable, skipped)
    rows["label"] = _classes_in_order(rows["label"], classes, source, skipped)
    kept = [str(label) for label in rows["label"].cat.categories]
    check_class_names(kept, source, on_unreadable)
    rows = rows[[*OWN_COLUMNS, *(column for column in rows if column not in OWN_COLUMNS)]]
    return PictureTable(
        name=name, rows=rows, root=root, skipped=skipped,
        unlisted=tell_unlisted(root, named, source) if look_for_others else None,
        taxonomy=None if taxonomy is None else taxonomy.reindex(kept),
    )  # fmt: skip


def _weighed(rows: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, dict[int, str]]:
    """The rows with `bytes`, and in which tar each lies where they lie in tars; why some are not there, by place."""
    if TAR in rows:  # the source has looked already
        return rows, {}
    names = rows.get(PICTURE, rows["path"])
    found = places_in_tars(root, names)
    if found is None:
        sizes, reasons = file_sizes(root, names)
        return rows.assign(bytes=sizes), reasons
    lacking = np.flatnonzero(found[TAR].isna()).tolist()
    return pd.concat([rows, found], axis=1), dict.fromkeys(lacking, "is in no tar of that folder")


def split_column(given: pd.Series | None, n: int, source: str) -> pd.Categorical:
    """Splits as the table has them. Raises `BadInput` for a name that is not known."""
    if given is None:
        return pd.Categorical([None] * n, categories=SPLITS)
    named = given.astype("str").astype("category")
    known: dict[str, str | None] = {"": None}
    for text in named.cat.categories:
        plain = str(text).strip().lower()
        if plain and plain not in SPLIT_NAMES:
            raise BadInput(f"{source}: there is no split {text!r}{did_you_mean(plain, SPLITS)}")
        known[text] = SPLIT_NAMES.get(plain)
    return pd.Categorical(named.map(known), categories=SPLITS)


def check_class_names(classes: Sequence[str], source: str, on_unreadable: OnUnreadable) -> None:
    """Raises `BadInput` (`skip`: warns) where names differ only by case, accents or spaces: one class, most likely."""
    seen: dict[str, str] = {}
    for label in classes:
        other = seen.setdefault(_plain(label), label)
        if other != label:
            said = f"{source}: the classes {other!r} and {label!r} differ only by case, accents or spaces"
            if on_unreadable == "raise":
                raise BadInput(f"{said}; give them one name, or keep both apart with data.on_unreadable=skip")
            log.warning("%s: both are kept", said)


def file_sizes(root: Path, paths: pd.Series) -> tuple[np.ndarray, dict[int, str]]:
    """(n,) int64 bytes of each file under `root`, 0 for what is no file, and of those why, by their place."""
    reasons: dict[int, str] = {}
    above = os.path.join(root, "")  # noqa: PTH118  # millions of paths: text, no objects

    def sizes() -> Iterator[int]:
        for place, path in enumerate(chain.from_iterable(chunks(paths))):
            size, reason = _size(above + path)
            if reason:
                reasons[place] = reason
            yield size

    return np.fromiter(sizes(), np.int64, len(paths)), reasons


def check_files(table: PictureTable) -> None:
    """Raise `BadInput` for pictures that hold nothing: empty files, pipes, links that point nowhere.

    Sources note them as of 0 bytes, so that `explore` can show them; training would meet them one by one.
    """
    if table.root is None or "bytes" not in table.rows:
        return
    empty = table.files[table.rows["bytes"] == 0]
    _, reasons = (None, {}) if TAR in table.rows else file_sizes(table.root, empty)
    told = {path: reasons.get(place, "is empty (0 bytes)") for place, path in enumerate(empty)}
    if told:
        raise BadInput(f"{table.root}: {_listing(told)}; put right what is listed, or set data.on_unreadable=skip")


def _listing(told: dict[str, str]) -> str:
    """The first pictures with what is wrong with them, and how many there are."""
    first = ", ".join(f"{path} {why}" for path, why in list(told.items())[:_SHOWN])
    return f"{first}, ... ({len(told):,} such pictures)" if len(told) > _SHOWN else first


def _size(path: str) -> tuple[int, str]:
    try:
        state = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return 0, "is not there"
    except PermissionError:
        return 0, "may not be read"
    except (OSError, ValueError):  # too long a name, a NUL in it, a circle of links
        return 0, "cannot be followed (a circle of links, or a name that cannot be)"
    wrong = not_a_file(state.st_mode)
    return 0 if wrong else state.st_size, wrong


def _stripped(labels: pd.Series) -> pd.Series:
    """As categories, without spaces around them; blank ones are missing."""
    coded = labels if isinstance(labels.dtype, pd.CategoricalDtype) else labels.astype("category")
    texts = {label: str(label).strip() or None for label in coded.cat.categories}
    if all(text == label for label, text in texts.items()):
        return coded
    return coded.map(texts).astype("category")


def _within(paths: pd.Series, root: Path) -> pd.Series:
    """Each path relative to the root, one text a file."""
    odd = paths.str.contains(_ODD_PATH, regex=True, na=False) & (paths != "")
    if not odd.any():
        return paths
    above = os.fspath(root)
    texts = [
        os.path.relpath(os.path.join(above, path), above)  # noqa: PTH118
        for path in paths[odd]
    ]
    paths = paths.copy()
    paths[odd] = texts
    return paths


def _unnamed(rows: pd.DataFrame) -> dict[int, str]:
    blank = rows["path"].isna() | rows["path"].str.fullmatch(r"\s*")
    reasons = dict.fromkeys(np.flatnonzero(rows["label"].isna()).tolist(), "has no label")
    return reasons | dict.fromkeys(np.flatnonzero(blank).tolist(), "a row without a path")


def _outside(rows: pd.DataFrame) -> dict[int, str]:
    outside = (rows["path"] == "..") | rows["path"].str.startswith("../")
    return dict.fromkeys(np.flatnonzero(outside).tolist(), "is outside data.root")


def _conflicts(rows: pd.DataFrame) -> dict[int, str]:
    """Pictures listed more than once, and not alike."""
    repeated = rows.loc[_repeated(rows["path"]), ["path", "label", "split"]]
    reasons: dict[int, str] = {}
    for _, same in repeated.groupby("path", sort=False):
        for column, said in (("label", "has the labels"), ("split", "is in the splits")):
            values = [str(value) for value in same[column].dropna().unique()]
            if len(values) > 1:
                reasons |= dict.fromkeys(same.index.tolist(), f"{said} {' and '.join(sorted(values))}")
    return reasons


def _once_each(rows: pd.DataFrame) -> pd.DataFrame:
    repeated = _repeated(rows["path"])
    if not repeated.any():
        return rows
    again = np.flatnonzero(repeated)[rows["path"][repeated].duplicated().to_numpy()]
    return rows.drop(index=again).reset_index(drop=True)


def _repeated(paths: pd.Series) -> np.ndarray:
    """(n,) whether a path comes more than once; by 64-bit hashes, as pandas would make all of them objects."""
    hashes = np.fromiter(map(hash, chain.from_iterable(chunks(paths))), np.int64, len(paths))
    order = np.argsort(hashes, kind="stable")
    same = np.diff(hashes[order]) == 0
    repeated = np.zeros(len(paths), dtype=bool)
    repeated[order[1:][same]] = repeated[order[:-1][same]] = True
    places = np.flatnonzero(repeated)  # few: look at the texts themselves
    repeated[places] = paths.iloc[places].duplicated(keep=False).to_numpy()
    return repeated


def _without(
    rows: pd.DataFrame,
    reasons: dict[int, str],
    source: str,
    on_unreadable: OnUnreadable,
    skipped: dict[str, str],
) -> pd.DataFrame:
    """The rows that nothing speaks against; the others raise, or are noted in `skipped`."""
    if not reasons:
        return rows
    paths = rows["path"].iloc[list(reasons)].fillna("")
    told = {path or f"row {place + 1}": why for path, (place, why) in zip(paths, reasons.items(), strict=True)}
    if on_unreadable == "raise":
        raise BadInput(f"{source}: {_listing(told)}; put right what is listed, or set data.on_unreadable=skip")
    skipped |= told
    keep = np.ones(len(rows), dtype=bool)
    keep[list(reasons)] = False
    return rows[keep].reset_index(drop=True)


def _classes_in_order(
    labels: pd.Series, classes: Sequence[str] | None, source: str, skipped: dict[str, str]
) -> pd.Series:
    labels = labels.cat.remove_unused_categories()
    seen = [str(label) for label in labels.cat.categories]
    order = sorted(seen, key=_as_counted) if classes is None else [one for one in classes if one in set(seen)]
    if len(order) < 2:
        found = f"only one class, {order[0]!r}" if order else "no picture"
        why = f" ({_listing(skipped)})" if skipped else ""
        raise BadInput(f"{source}: {found} is left{why}; it takes at least two classes with pictures")
    return labels.cat.set_categories(order)


def _as_counted(label: str) -> tuple[bool, int, str]:
    """2 before 10, numbers before words."""
    number = label.isascii() and label.isdigit()
    return not number, int(label) if number else 0, label


def _plain(label: str) -> str:
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", label)).casefold()
    return " ".join(letters.split())
