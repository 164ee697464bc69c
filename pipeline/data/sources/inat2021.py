"""iNaturalist 2021 as published (Van Horn et al. 2021, arXiv:2103.16483): folders of species, JSONs of records.

torchvision's `INaturalist` reads the folders of one version, without the JSONs' dates and places, as a list of
Python objects; here both forms become columns.
"""

import os
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.common.errors import BadInput
from pipeline.common.paths import check_utf8
from pipeline.data import taxonomy
from pipeline.data.checks import OnUnreadable, trusted_table
from pipeline.data.files import SUFFIXES, existing, read_table
from pipeline.data.sources.json_stream import records
from pipeline.data.table import SPLITS, PictureTable

_FOLDER_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "specific_epithet")
_BATCH = 100_000


def read(
    *,
    name: str | None = None,
    root: str | None = None,
    train: str = "2021_train_mini",
    val: str | None = "2021_valid",
    categories: str | None = None,
    on_unreadable: OnUnreadable = "raise",
) -> PictureTable:
    """The pictures of two of the published versions; the classes are their species, in the order of their ids.

    `train` and `val` each name a folder of species folders under `root`, or a JSON of the published form there.
    Of `2021_train_mini` the JSON is `train_mini.json` and is taken where it lies in `root`: it adds the columns
    `date`, `latitude`, `longitude`. The taxonomy is that of `categories` (a CSV with a column `id` or
    `image_dir_name`), else of the JSON, else of the folders' names.
    """
    folder = existing(root, "data.root", "folder that holds 2021_train_mini and the like", folder=True)
    parts = [(split, given) for split, given in (("train", train), ("val", val)) if given]
    read_parts = [_version(folder, given, f"data.{split}") for split, given in parts]
    known = _Categories.merge([found for _, found in read_parts])
    if categories:
        known.describe(existing(categories, "data.categories", "table with a row a species"))
    ids = np.concatenate([table["category"].to_numpy() for table, _ in read_parts])
    splits = np.repeat([SPLITS.index(split) for split, _ in parts], [len(table) for table, _ in read_parts])
    tables = [table for table, _ in read_parts]
    listed = pd.concat(tables, ignore_index=True) if tables[1:] else tables[0]
    listed = listed.drop(columns="category")
    seen = np.unique(ids)
    ranks = known.table(seen, folder)
    listed["label"] = pd.Categorical.from_codes(np.searchsorted(seen, ids), categories=ranks.index)
    listed["split"] = pd.Categorical.from_codes(splits, categories=list(SPLITS))
    return trusted_table(
        listed, name=name or folder.name, root=folder, source=f"data.root: {folder}",
        classes=ranks.index.tolist(), taxonomy=ranks, on_unreadable=on_unreadable,
    )  # fmt: skip


class _Categories:
    """What is known of each species, by its id."""

    def __init__(self, known: dict[int, dict[str, Any]] | None = None) -> None:
        self._known = known or {}

    @classmethod
    def merge(cls, parts: Iterable["_Categories"]) -> "_Categories":
        """All of them; the first to know something of a species is believed."""
        merged: dict[int, dict[str, Any]] = {}
        for part in parts:
            for number, facts in part._known.items():
                merged[number] = {**facts, **merged.get(number, {})}
        return cls(merged)

    def add(self, number: int, facts: dict[str, Any]) -> None:
        """Take a category of the JSON's form."""
        self._known[number] = facts

    def add_folder(self, folder: str) -> int:
        """Take what a folder's name says, `00000_Animalia_..._terrestris`, and give its id."""
        number, _, ranks = folder.partition("_")
        words = ranks.split("_")
        if not number.isdecimal() or len(words) != len(_FOLDER_RANKS):
            raise BadInput(
                f"data.root: the folder {folder!r} is not named as published, "
                "00000_Kingdom_Phylum_Class_Order_Family_Genus_epithet; other folders are read with data=folder"
            )
        self._known.setdefault(int(number), dict(zip(_FOLDER_RANKS, words, strict=True)))
        return int(number)

    def describe(self, file: Path) -> None:
        """Take a table's word for the species that it has."""
        table = read_table(file, "data.categories")
        if "id" in table:
            numbers = table["id"]
        elif "image_dir_name" in table:
            numbers = table["image_dir_name"].str.partition("_")[0]
        else:
            raise BadInput(f"data.categories: {file} has no column id")
        numbers = pd.to_numeric(numbers, errors="coerce")
        if numbers.isna().any():
            raise BadInput(f"data.categories: {file} has an id that is no number")
        plain = table.astype(object).where(table.notna(), None).to_dict("records")
        for number, facts in zip(numbers.astype(int), plain, strict=True):
            if number in self._known:
                self._known[number] = {str(key): value for key, value in facts.items()}

    def table(self, numbers: np.ndarray, root: Path) -> pd.DataFrame:
        """The taxonomy of those species, a row each, indexed by its name."""
        unknown = [int(number) for number in numbers if int(number) not in self._known]
        if unknown:
            raise BadInput(
                f"data.root: nothing is known of category {unknown[0]} under {root} "
                f"({len(unknown)} such); say data.categories=categories.csv"
            )
        facts = pd.DataFrame([self._known[int(number)] for number in numbers])
        ranks = taxonomy.tidy(facts, f"data.root: {root}")
        taxonomy.check_parents(ranks, f"data.root: {root}")
        names = facts["name"] if "name" in facts else ranks["species"]
        names = names.fillna(ranks["species"]) if "species" in ranks else names
        homonyms = names.duplicated(keep=False)
        names[homonyms] = [
            f"{name} ({number})" for name, number in zip(names[homonyms], numbers[homonyms], strict=True)
        ]
        return ranks.set_axis(pd.Index(names.astype("str").tolist()), axis=0)


def _version(root: Path, given: str, key: str) -> tuple[pd.DataFrame, _Categories]:
    """A version's pictures (`path`, `category` and what its JSON adds), and their categories."""
    if given.endswith(".json"):
        return _from_json(existing(root / given, key, "JSON of pictures"), root, None)
    plain = given.removeprefix("2021_")
    for stem in (given, plain, plain.replace("valid", "val")):
        if (root / f"{stem}.json").is_file():
            return _from_json(root / f"{stem}.json", root, given)
    folder = root / given
    if not folder.is_dir():
        raise BadInput(f"{key}: {root} holds neither a folder {given} nor its JSON; see conf/data/inat2021.yaml")
    return _from_folders(folder, given)


def _from_folders(folder: Path, version: str) -> tuple[pd.DataFrame, _Categories]:
    categories, numbers, counts, paths = _Categories(), [], [], []
    with os.scandir(folder) as entries:
        species = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for one in species:
        files = sorted(file for file in os.listdir(folder / one) if file.lower().endswith(SUFFIXES))  # noqa: PTH208
        for path in (one, *files):
            if not path.isascii():
                check_utf8(folder / path, "data.root")
        numbers.append(categories.add_folder(one))
        counts.append(len(files))
        paths.append(pa.array([f"{version}/{one}/{file}" for file in files], pa.large_string()))
    category = np.repeat(np.array(numbers, dtype=np.int32), counts)
    return pd.DataFrame({"path": _texts(paths), "category": category}), categories


def _from_json(file: Path, root: Path, version: str | None) -> tuple[pd.DataFrame, _Categories]:
    """`images`, `annotations` and `categories` of the published form; without the last two, folders tell."""
    categories, images = _Categories(), _Images()
    pictures, species = array("q"), array("i")
    for kind, record in records(file, ("images", "annotations", "categories"), "data.root"):
        try:
            if kind == "images":
                images.add(record)
            elif kind == "annotations":
                pictures.append(record["image_id"])
                species.append(record["category_id"])
            else:
                categories.add(record["id"], record)
        except (KeyError, TypeError) as error:
            raise BadInput(f"data.root: {file} has a record of {kind} without {error}") from None
    table = images.table()
    if table.empty:
        raise BadInput(f"data.root: {file} lists no images")
    table["category"] = _category_ids(
        table, np.frombuffer(pictures, np.int64), np.frombuffer(species, np.int32), categories, file
    )
    first = str(table["path"].iloc[0]).partition("/")[0]
    if version and first != version and not (root / first).exists() and (root / version).is_dir():
        table["path"] = version + table["path"].str.slice(len(first))  # the folder as torchvision names it
    return table.drop(columns="id"), categories


def _category_ids(
    table: pd.DataFrame, pictures: np.ndarray, species: np.ndarray, categories: _Categories, file: Path
) -> np.ndarray:
    """(n,) each picture's category."""
    if not len(pictures):
        folders = table["path"].str.rsplit("/", n=2).str[-2].astype("category")
        numbers = [categories.add_folder(str(folder)) for folder in folders.cat.categories]
        return np.array(numbers, dtype=np.int32)[folders.cat.codes.to_numpy()]
    order = np.argsort(pictures, kind="stable")
    places = np.searchsorted(pictures, table["id"].to_numpy(), sorter=order)
    found = order[np.minimum(places, len(order) - 1)]
    lacking = np.flatnonzero(pictures[found] != table["id"].to_numpy())
    if lacking.size:
        raise BadInput(
            f"data.root: {file} has no annotation for {lacking.size:,} images, such as {table['path'].iloc[lacking[0]]}"
        )
    return species[found]


class _Images:
    """Columns filled from records, a batch at a time, so that few Python objects live at once."""

    def __init__(self) -> None:
        self._ids, self._latitudes, self._longitudes = array("q"), array("f"), array("f")
        self._paths, self._dates = _Texts(), _Texts()

    def add(self, record: dict[str, Any]) -> None:
        """Take one of the JSON's images."""
        nowhere = float("nan")
        latitude, longitude = record.get("latitude"), record.get("longitude")
        self._paths.add(record["file_name"])
        self._ids.append(record["id"])
        self._dates.add(record.get("date"))
        self._latitudes.append(nowhere if latitude is None else latitude)
        self._longitudes.append(nowhere if longitude is None else longitude)

    def table(self) -> pd.DataFrame:
        """All of them; `date` in UTC, missing where the JSON says nothing."""
        return pd.DataFrame(
            {
                "path": _texts(self._paths.finish()),
                "id": np.frombuffer(self._ids, np.int64),
                "date": _moments(self._dates.finish()),
                "latitude": np.frombuffer(self._latitudes, np.float32),
                "longitude": np.frombuffer(self._longitudes, np.float32),
            }
        )


class _Texts:
    """Texts that become Arrow's a batch at a time."""

    def __init__(self) -> None:
        self._some: list[str | None] = []
        self._done: list[pa.Array] = []

    def add(self, text: str | None) -> None:
        """Take one."""
        self._some.append(text)
        if len(self._some) == _BATCH:
            self.finish()

    def finish(self) -> list[pa.Array]:
        """All that were taken."""
        if self._some:
            self._done.append(pa.array(self._some, pa.large_string()))
            self._some = []
        return self._done


def _moments(parts: list[pa.Array]) -> np.ndarray:
    """(n,) datetime64, UTC; a part at a time."""
    moments = np.empty(sum(len(part) for part in parts), dtype="datetime64[s]")
    start = 0
    for part in parts:
        some = pd.to_datetime(pd.Series(part.to_pylist()), errors="coerce", utc=True, format="ISO8601")
        moments[start : start + len(part)] = some.dt.tz_localize(None).to_numpy(dtype="datetime64[s]")
        start += len(part)
    return moments


def _texts(parts: list[pa.Array]) -> pd.Series:
    return pd.Series(pd.array(pa.chunked_array(parts, pa.large_string()), dtype="str"))
