"""The table of pictures: what every data set becomes, whatever its published form."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.boxes.crop import Boxed, Plain, boxed
from pipeline.data.members import HEADER, OFFSET, TAR, Member

SPLITS = ("train", "val", "test")
PICTURE = "picture_path"  # the file of a row that has another `path`, where a picture has several rows
IN_TARS = (TAR, OFFSET, HEADER)  # where the pictures are members of tars below `root`
OWN_COLUMNS = ("path", "label", "split", "bytes")  # the program's; all others are the user's
# A user's column of such a name makes room.
RENAMED = {name: f"{name}_given" for name in (*OWN_COLUMNS, *IN_TARS, PICTURE)}
_CHUNK = 100_000


@dataclass(frozen=True)
class PictureTable:
    """A row a picture.

    `rows` has a fresh 0..n-1 index and the columns `path` (text, relative to `root` where that is set),
    `label` (categorical; its categories are the classes in their fixed order), `split` (categorical over
    `SPLITS`, missing where the set brings no split) and any further columns (`region`, `latitude`, ...).
    `taxonomy`, where there is one, has a row a class, indexed by class name, in the classes' order.
    Pictures inside tars have in the columns `IN_TARS` the tar (categorical, its path relative to `root`), where in it
    they begin, and the checksum of what stands there before them.
    `pixels`, for sets held in memory, is (n, height, width, 3) uint8 and stands for the files; whoever reads pictures
    asks for their `sources` and need not know which of the two they are. `boxes` (n, 4), where they are looked at, are
    what of each picture is: left, top, width and height as shares of it, NaN for all of it. Of a picture with several
    the rows have `path`s of their own, and its file in the column `picture_path`.
    `unlisted`: how many pictures lie under `root` that the set does not name; None where nobody looked.
    `skipped`: what `data.on_unreadable=skip` left out, by its `path`, and why; grows as pictures are read.
    `attributes`, where there are some, has a row a class that is known of, which may be more or fewer than the set's;
    or, where its index is called `path`, a row a picture.
    `empty_folders`: those that would be classes, but hold no picture.
    """

    name: str
    rows: pd.DataFrame
    root: Path | None = None
    taxonomy: pd.DataFrame | None = None
    pixels: np.ndarray | None = None
    boxes: np.ndarray | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    unlisted: int | None = None
    empty_folders: tuple[str, ...] = ()
    attributes: pd.DataFrame | None = None

    @property
    def classes(self) -> list[str]:
        """Class names; a label's code is its place in this list."""
        return [str(name) for name in self.rows["label"].cat.categories]

    @property
    def further(self) -> list[str]:
        """The columns that the user brought."""
        return [name for name in self.rows if name not in (*OWN_COLUMNS, *IN_TARS)]

    @property
    def labels(self) -> np.ndarray:
        """(n,) int64 class codes."""
        return self.rows["label"].cat.codes.to_numpy(dtype=np.int64)

    @property
    def in_memory(self) -> bool:
        """Whether no file is read for its pictures."""
        return self.pixels is not None

    @property
    def files(self) -> pd.Series:
        """Where each row's picture lies, relative to `root`."""
        return self.rows[PICTURE] if PICTURE in self.rows else self.rows["path"]

    def shown(self, rows: np.ndarray) -> Sequence[Plain | Boxed] | np.ndarray:
        """The `sources` of `rows` (k,), with the boxes in them where there are any."""
        sources = self.sources(rows)
        return sources if self.boxes is None else boxed(sources, self.boxes[rows])

    def sources(self, rows: np.ndarray) -> list[str] | np.ndarray:
        """What the pictures of `rows` (k,) are decoded from: paths of files, or pixels (k, height, width, 3) uint8."""
        if self.pixels is not None:
            return self.pixels[rows]
        root = os.fspath(self.root or "")
        paths = (os.path.join(root, path) for path in self.files.array.take(rows))  # noqa: PTH118 - text: a Path costs ten times it, and there may be millions
        if TAR not in self.rows:
            return list(paths)
        tars = [os.path.join(root, tar) for tar in self.rows[TAR].cat.categories]  # noqa: PTH118
        whose = (tars[code] for code in self.rows[TAR].cat.codes.to_numpy()[rows])
        where = (self.rows[name].to_numpy()[rows].tolist() for name in (OFFSET, "bytes", HEADER))
        return list(map(Member, paths, whose, *where))

    def sizes(self) -> np.ndarray:
        """(n,) int64 bytes of each picture, 0 for a file that is not there; the source may have noted them already."""
        if "bytes" in self.rows:
            return self.rows["bytes"].to_numpy(np.int64)
        if self.pixels is not None:
            return np.full(len(self.pixels), self.pixels[:1].nbytes)
        root, sizes = os.fspath(self.root or ""), np.zeros(len(self.rows), np.int64)
        for row, path in enumerate(self.files):
            with suppress(OSError):
                sizes[row] = os.stat(os.path.join(root, path)).st_size  # noqa: PTH116, PTH118 - as above
        return sizes

    def rows_of(self, paths: Iterable[str]) -> dict[str, int]:
        """Row numbers of some pictures by their path, of those that are there; the table may have millions."""
        rows = np.flatnonzero(self.rows["path"].isin(list(paths)).to_numpy())
        return dict(zip(self.rows["path"].iloc[rows], rows.tolist(), strict=True))

    def where(self, split: str) -> np.ndarray:
        """Row numbers of a split, ascending."""
        return np.flatnonzero((self.rows["split"] == split).to_numpy())

    def with_rows(self, rows: pd.DataFrame) -> "PictureTable":
        """The same set with other columns; the rows must be the same pictures in the same order."""
        return replace(self, rows=rows)

    def take(self, places: np.ndarray) -> "PictureTable":
        """The pictures at those places, in that order; a place may come more than once. The classes stay."""
        rows = self.rows.iloc[places].reset_index(drop=True)
        pixels, boxes = (None if kept is None else kept[places] for kept in (self.pixels, self.boxes))
        return replace(self, rows=rows, pixels=pixels, boxes=boxes)

    def with_classes(self, classes: list[str]) -> "PictureTable":
        """The pictures of some classes, which stand in the order given."""
        kept = self.take(np.flatnonzero(self.rows["label"].isin(classes).to_numpy()))
        rows = kept.rows.assign(label=kept.rows["label"].cat.set_categories(classes))
        taxonomy = None if self.taxonomy is None else self.taxonomy.loc[classes]
        return replace(kept, rows=rows, taxonomy=taxonomy)


def animals_apart(rows: pd.DataFrame, number: np.ndarray | pd.Series) -> pd.DataFrame:
    """Rows with a `path` of their own, each the `number`th (n,) of its picture: `a.jpg`, `a.jpg#2`, `a.jpg#3`.

    Their file is then in the column `picture_path`. Where no picture has a second, nothing changes.
    """
    later = np.asarray(number) > 1
    if not later.any():
        return rows
    path = rows["path"].astype("str")
    named = path.where(~later, path + "#" + pd.Series(number, index=rows.index).astype("str"))
    return rows.assign(**{PICTURE: path, "path": named.astype("str")})


def chunks(texts: pd.Series) -> Iterator[list[str]]:
    """Millions of Arrow's texts as Python's, some at a time: all at once would take several times the memory."""
    for start in range(0, len(texts), _CHUNK):
        yield texts.iloc[start : start + _CHUNK].tolist()
