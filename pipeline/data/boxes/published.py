"""Boxes, and what is said to be in them, as detectors and people publish them: MegaDetector's JSON and COCO's.

https://lila.science/megadetector-output-format and https://cocodataset.org/#format-data; COCO Camera Traps is the same
with sequences, and mostly without boxes.
"""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.files import existing
from pipeline.data.sources.json_stream import records

NOTHING = ("blank", "empty")  # what people call a picture that shows no animal; the first is ours
OTHERS = ("person", "human", "people", "vehicle", "car")  # what detectors tell from animals
_VERSION = "1."  # of MegaDetector's form: later minor versions only add


@dataclass(frozen=True)
class Detections:
    """A row a box: whose `file` (categorical, as it is written there), and what it holds.

    `category` is what the detector tells (`animal`), `label` what it is said to be, missing where nothing is;
    `confidence` the detector's; `COLUMNS` are shares of the picture.
    A picture in which nothing was found has a row of its own without a box, whose category is `blank`; one that failed
    has none. `by_people`: the labels are not a network's.
    """

    table: pd.DataFrame
    by_people: bool

    def sure(self, confidence: float) -> "Detections":
        """Without boxes that the detector is less sure of; a picture that has no other is blank."""
        kept = self.table["confidence"].isna() | (self.table["confidence"] >= confidence)
        files = self.table["file"].cat.codes
        seen = np.zeros(len(self.table["file"].cat.categories), bool)
        seen[files[kept]] = True
        blank = self.table[~seen[files]].drop_duplicates("file").assign(
            category=NOTHING[0], label=None, confidence=np.nan, **dict.fromkeys(COLUMNS, np.nan)
        )  # fmt: skip
        return Detections(pd.concat([self.table[kept], blank]) if len(blank) else self.table[kept], self.by_people)


def read_detections(file: str, key: str) -> Detections:
    """What a JSON of MegaDetector or COCO holds. BadInput, which names `key`, for anything else."""
    found = existing(file, key, "boxes of a detector (MegaDetector's JSON, or COCO's)")
    with found.open("rb") as stream:
        begins = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if begins.startswith(b"["):
        raise BadInput(
            f"{key}: {found} is a list of another version, with corners in pixels: have the detector write "
            "MegaDetector's published form (format_version 1.x)"
        )
    reader = _Reader(found, key)
    for name, value in records(found, (*_ARRAYS, *_OBJECTS), key):
        reader.take(name, value)
    return reader.detections()


_ARRAYS = ("images", "annotations", "categories")
_OBJECTS = ("info", "detection_categories", "classification_categories")


class _Reader:
    """Takes a file's parts as they come: columns of plain numbers, as there may be millions."""

    def __init__(self, file: Path, key: str) -> None:
        self._file, self._key = file, key
        self._facts: dict[str, Any] = {}
        self._files: dict[str, int] = {}
        self._of = array("q")  # which of the files each row is of
        self._numbers = array("f")  # box and confidence of each row
        self._categories: list[Any] = []
        self._labels: list[Any] = []
        self._sizes: dict[Any, tuple[str, float, float]] = {}  # COCO's pictures by id
        self._annotations: list[tuple[Any, Any]] = []
        self._names: dict[Any, str] = {}

    def take(self, name: str, value: Any) -> None:
        """One element of an array, or an object."""
        try:
            if name in _OBJECTS:
                self._facts[name] = value
            elif name == "categories":
                self._names[value["id"]] = str(value["name"])
            elif name == "annotations":
                self._annotations.append((value["image_id"], value["category_id"]))
                left, top, wide, high = map(float, value.get("bbox") or (np.nan,) * 4)
                self._numbers.extend((left, top, wide, high, value.get("score", np.nan)))
            elif "file_name" in value:
                size = float(value.get("width") or np.nan), float(value.get("height") or np.nan)
                self._sizes[value["id"]] = (str(value["file_name"]), *size)
            else:
                self._take_picture(value)
        except (KeyError, TypeError, ValueError) as error:
            raise self._bad(f"{name}: {str(value)[:80]} is not of that form ({error!r})") from None

    def _take_picture(self, picture: dict[str, Any]) -> None:
        file, found = str(picture["file"]).replace("\\", "/"), picture.get("detections")
        if found is None:  # it failed
            return
        if not found:
            self._row(file, "", None, (np.nan,) * 4, np.nan)
        for one in found:
            said = one.get("classifications")
            left, top, wide, high = one["bbox"]
            self._row(file, str(one["category"]), said[0][0] if said else None, (left, top, wide, high), one["conf"])

    def _row(self, file: str, category: Any, label: Any, box: tuple[float, ...], confidence: float) -> None:
        self._of.append(self._files.setdefault(file, len(self._files)))
        self._categories.append(category)
        self._labels.append(label)
        self._numbers.extend((*box, confidence))

    def detections(self) -> Detections:
        """What the whole file says."""
        if "detection_categories" in self._facts or self._files:
            return self._of_megadetector()
        if self._sizes:
            return self._of_coco()
        raise self._bad("it has neither MegaDetector's detection_categories nor COCO's images")

    def _of_megadetector(self) -> Detections:
        info, *named = (self._facts.get(name) or {} for name in _OBJECTS)
        if not all(isinstance(one, dict) for one in (info, *named)):
            raise self._bad(f"{', '.join(_OBJECTS)} are not of that form")
        version = str(info.get("format_version"))
        if not version.startswith(_VERSION):
            raise self._bad(f"its format_version is {version}; {_VERSION}x is read")
        if not self._files:
            raise self._bad("nothing is said of any picture: it has none, or all of them failed")
        categories, labels = named
        told = pd.Series(self._categories, dtype="object").map(categories | {"": NOTHING[0]})
        known = _kinds(told)
        label = pd.Series(self._labels, dtype="object").map(labels)
        own = told.where((known == "animal") & (told.str.lower() != "animal"))  # a detector that tells animals apart
        table = self._table(known, label.where(label.notna(), own))
        # What it does not name counts as nothing found.
        table.loc[told.isna(), [*COLUMNS, "confidence"]] = np.nan
        return Detections(table.fillna({"category": NOTHING[0]}), by_people=False)

    def _of_coco(self) -> Detections:
        lost = next((one for one, _ in self._annotations if one not in self._sizes), None)
        if lost is not None:
            raise self._bad(f"an annotation is of picture {lost}, which is not among its images")
        pictures = [self._sizes[picture] for picture, _ in self._annotations]
        labels = pd.Series([self._names.get(category) for _, category in self._annotations], dtype="object")
        category = _kinds(labels).fillna("animal")
        for file, *_ in pictures:
            self._of.append(self._files.setdefault(file, len(self._files)))
        table = self._table(category, labels.where(category == "animal"))
        sizes = np.array([size for _, *size in pictures], np.float32).reshape(-1, 2)
        if np.isnan(sizes[table[COLUMNS[0]].notna()]).any():
            raise self._bad("its images lack width and height, which boxes in pixels need")
        table[list(COLUMNS)] = table[list(COLUMNS)].to_numpy() / np.tile(sizes, 2)
        spoken = {picture for picture, _ in self._annotations}
        silent = [file for picture, (file, *_) in self._sizes.items() if picture not in spoken]
        if silent:
            table = pd.concat([table.astype({"file": "str"}), _blank(silent)], ignore_index=True)
        return Detections(table.astype({"file": "category"}), by_people=True)

    def _table(self, categories: pd.Series, labels: pd.Series) -> pd.DataFrame:
        numbers = np.frombuffer(self._numbers, np.float32).reshape(-1, len(COLUMNS) + 1)
        table = pd.DataFrame(numbers, columns=[*COLUMNS, "confidence"])
        if (most := table["confidence"].max()) > 1:
            raise self._bad(f"it has a confidence of {most:g}, where shares (0 to 1) are meant")
        table.insert(0, "file", pd.Categorical.from_codes(np.frombuffer(self._of, np.int64), list(self._files)))
        table.insert(1, "category", categories.astype("str").where(categories.notna()))
        table.insert(2, "label", labels)
        return table

    def _bad(self, why: str) -> BadInput:
        return BadInput(f"{self._key}: {self._file}: {why}")


def _kinds(names: pd.Series) -> pd.Series:
    """What is told apart of what boxes are said to hold: nothing, people and vehicles, and else animals."""
    lower = names.str.lower()
    others = lower.isin([*NOTHING, *OTHERS]) | names.isna()
    return lower.where(others, "animal").replace(NOTHING[1], NOTHING[0])


def _blank(files: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"file": pd.Series(files, dtype="str"), "category": NOTHING[0], "label": None}).assign(
        confidence=np.nan, **dict.fromkeys(COLUMNS, np.nan)
    )
