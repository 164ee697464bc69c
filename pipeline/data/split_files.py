"""Splits written out and read back: one CSV, or a folder of `train.txt`, `val.txt` and `test.txt`."""

import io
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.common.wording import counted
from pipeline.data.checks import split_column
from pipeline.data.digest import by_content, picture_digests
from pipeline.data.files import column, existing, read_table, read_text, unguarded, write_csv
from pipeline.data.sources.lists import LINE
from pipeline.data.table import SPLITS, PictureTable

KEPT = ("split.csv", "split.parquet")  # among a run's files
TABLES = (".csv", ".tsv", ".parquet", ".pq")
_SHOWN = 5
_MOST_LINES = 100_000  # of a run's split as CSV, about 10 MB: every job of a sweep keeps its own


def write_split(table: PictureTable, path: str | os.PathLike[str]) -> None:
    """Write the split as one CSV (a path that ends in .csv), else as lists in a folder, which data=lists reads.

    Raises `BadInput` for a place within the pictures' own folder or in a folder that is not there, and where another
    split lies already.
    """
    target = expanded(path, "data.split.save").absolute()
    if table.root is not None and target.resolve().is_relative_to(table.root.resolve()):
        raise BadInput(f"data.split.save: {target} is inside data.root, where nothing is written; put it elsewhere")
    if not target.parent.is_dir():
        raise BadInput(f"data.split.save: the folder {target.parent} is not there; make it, or check its spelling")
    for file, text in _texts(table, target).items():
        if file.is_file() and file.read_bytes().decode(errors="replace") != text:
            raise BadInput(f"data.split.save: {file} holds another split; name a new file, or move it away")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, partial(Path.write_bytes, data=text.encode()), shared=True)
        except OSError as error:
            raise BadInput(
                f"data.split.save: {file} cannot be written ({error.strerror}); name another place"
            ) from None


def keep_split(table: PictureTable, folder: Path) -> Path:
    """Write the split that a run uses among its files, for `data.split.file`: CSV, of very many pictures Parquet.

    The column `digest` says what each picture held, so that one that changes later is noticed; of sets so large that
    they are not read through it would be lost when they are moved, and is left out.
    """
    rows = table.rows[["path", "label", "split"]]
    if by_content(table):
        digests = picture_digests(table, np.arange(len(rows)))
        rows = rows.assign(digest=[f"{number:016x}" for number in digests.tolist()])
    if len(rows) <= _MOST_LINES:
        file = folder / KEPT[0]
        write_csv(rows, file)
    else:  # a tenth of the size
        file = folder / KEPT[1]
        rows.to_parquet(file, index=False, compression="zstd")
    return file


def kept_split(folder: Path) -> pd.DataFrame | None:
    """What `keep_split` wrote: text columns `path`, `label`, `split` and, of later versions, `digest`.

    None where nothing was kept. Raises `BadInput` for a file that is no such table.
    """
    for file in (folder / name for name in KEPT):
        if file.is_file():
            table = read_table(file, str(file))
            kept = {name: column(table, name, str(file), file).astype("str") for name in ("path", "label", "split")}
            if "digest" not in table:  # of a version that guarded no texts
                _check_kept(pd.DataFrame(kept), file)
                return pd.DataFrame(kept)
            if file.suffix == ".csv":
                kept |= {name: unguarded(kept[name]) for name in ("path", "label")}
            kept |= {"digest": table["digest"].astype("str")}
            _check_kept(pd.DataFrame(kept), file)
            return pd.DataFrame(kept)
    return None


def _check_kept(kept: pd.DataFrame, file: Path) -> None:
    odd = {"names more than once": kept["path"].duplicated()}
    if "digest" in kept:
        no_digest = ~kept["digest"].str.fullmatch("[0-9a-f]{16}", na=False)
        odd["gives no digest of 16 hexadecimal digits to"] = no_digest
    for said, rows in odd.items():
        if rows.any():
            raise BadInput(
                f"{file} {said} {_first(kept.loc[rows, 'path'].astype(object).map(str).tolist())}: it is not as the "
                "run left it; put back what it was"
            )


def read_split(
    table: PictureTable, path: str | os.PathLike[str], *, among: PictureTable | None = None, drop: bool = False,
    unseen: Sequence[str] = (),
) -> PictureTable:  # fmt: skip
    """The table with the split of a CSV (columns `path` and `split`), or of lists in a folder.

    Every picture of the table is to be in it once, and no other than those of `among` (default: the table). With
    `drop`, a class of which it names no picture was too small when the split was made, and is dropped again. Those of
    `unseen` classes, which are held out, need not be in it.
    Raises `BadInput`.
    """
    key = "data.split.file"
    target = expanded(path, key).absolute()
    everything = (among or table).rows["path"]
    file = target if target.is_dir() else existing(target, key, "split to read")
    listed = _listed(table, file) if file.is_dir() else _from_table(file, everything)
    table = _of_named_classes(table, listed) if drop else table
    paths = pd.Index(table.rows["path"])
    if listed["path"].duplicated().any():
        twice = listed["path"][listed["path"].duplicated()].iloc[0]
        raise BadInput(f"{key}: {target} names {twice} more than once; keep one line")
    places = paths.get_indexer(pd.Index(listed["path"]))
    strangers = listed["path"][places < 0]
    strangers = strangers[~strangers.isin(everything)].tolist()
    if strangers:
        raise BadInput(
            f"{key}: {table.name} has no {_first(strangers)}, which {target} names; check data.root, or take those "
            "lines out of the file"
        )
    codes = np.full(len(paths), -1, dtype=np.int8)
    codes[places[places >= 0]] = pd.Categorical(listed["split"], categories=list(SPLITS)).codes[places >= 0]
    codes[(codes < 0) & table.rows["label"].isin(unseen).to_numpy()] = 0
    lacking = table.rows["path"][codes < 0].tolist()
    if lacking:
        raise BadInput(
            f"{key}: {target} gives no split to {_first(lacking)}; add them to it, or move the pictures away"
        )
    return table.with_rows(table.rows.assign(split=pd.Categorical.from_codes(codes, categories=list(SPLITS))))


def _texts(table: PictureTable, target: Path) -> dict[Path, str]:
    rows = table.rows[["path", "label", "split"]]
    if target.suffix.lower() == ".csv":
        text = io.StringIO()
        write_csv(rows, text)
        return {target: text.getvalue()}
    if target.suffix:
        raise BadInput(f"data.split.save: {target} is neither a .csv nor a folder (a name without a dot)")
    odd = rows["path"][rows["path"].str.contains("\n")]
    if len(odd):
        raise BadInput(f"data.split.save: {odd.iloc[0]!r} does not fit on a line; save as a .csv")
    lines = rows["path"] + " " + rows["label"].astype("str")
    files = {target / f"{split}.txt": lines[rows["split"] == split] for split in SPLITS}
    files[target / "classes.txt"] = pd.Series(table.classes)
    return {file: "".join(f"{line}\n" for line in some) for file, some in files.items()}


def _from_table(file: Path, known: pd.Series) -> pd.DataFrame:
    key = "data.split.file"
    if file.suffix.lower() not in TABLES:
        raise BadInput(
            f"{key}: {file} is neither a table ({', '.join(TABLES)}) nor a folder of lists; name one of those"
        )
    table = read_table(file, key)
    paths = column(table, "path", key, file).astype("str")
    as_written = unguarded(paths)
    if as_written.isin(known).sum() > paths.isin(known).sum():  # else it was not written by us, or long ago
        paths = as_written
    splits = split_column(column(table, "split", key, file), len(table), f"{key}: {file}")
    return pd.DataFrame({"path": paths, "split": splits}).dropna()


def _of_named_classes(table: PictureTable, listed: pd.DataFrame) -> PictureTable:
    """Without the classes of which no picture is listed; two at the least are left."""
    named = table.rows["label"][table.rows["path"].isin(listed["path"])].unique()
    kept = [name for name in table.classes if name in set(named)]
    return table.with_classes(kept) if 2 <= len(kept) < len(table.classes) else table


def _listed(table: PictureTable, folder: Path) -> pd.DataFrame:
    files = [(split, folder / f"{split}.txt") for split in SPLITS if (folder / f"{split}.txt").is_file()]
    if not files:
        raise BadInput(f"data.split.file: {folder} holds none of train.txt, val.txt, test.txt")
    known = set(table.rows["path"])
    rows = [
        (_path(line, known), split)
        for split, file in files
        for line in read_text(file, "data.split.file").split("\n")
        if line.strip()
    ]
    return pd.DataFrame(rows, columns=["path", "split"])


def _path(line: str, known: set[str]) -> str:
    """The picture that a line names, with or without a label after it."""
    line = line.rstrip("\r")
    if line in known:
        return line
    match = LINE.fullmatch(line)
    return match["path"] if match else line.strip().rsplit(None, 1)[0]


def _first(paths: list[str]) -> str:
    more = f", ... ({counted(len(paths), 'picture')})" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}"
