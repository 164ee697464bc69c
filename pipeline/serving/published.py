"""Answers in forms that others read: MegaDetector's JSON, Camtrap DP's observations, Darwin Core."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput
from pipeline.data.beside.files import known_by
from pipeline.data.boxes.camtrap_dp import media
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.files import write_csv
from pipeline.data.taxonomy import RANKS
from pipeline.evaluation.depth import LABEL

_CATEGORIES = {"animal": "1", "person": "2", "vehicle": "3"}
_KINDS = {"blank": "blank", "person": "human", "vehicle": "vehicle"}  # as Camtrap DP says them
Rows = Sequence[dict[str, Any]]


def megadetector(rows: Rows, root: Path, model: str) -> str:
    """https://lila.science/megadetector-output-format, version 1.4; without a box it is the whole picture's."""
    numbers: dict[str, str] = {}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        here = found[Path(os.path.relpath(row["picture"], root)).as_posix()]
        if row["label"] == "blank" and row["probability"] is None:
            continue
        network = row["probability"] is not None
        one: dict[str, Any] = {
            "category": _CATEGORIES["animal" if network else row["label"]],
            "conf": 1.0 if row.get("box_confidence") is None else row["box_confidence"],
            "bbox": [0.0, 0.0, 1.0, 1.0] if row.get(COLUMNS[0]) is None else [row[name] for name in COLUMNS],
        }
        if network:
            places = ["", *(f"_{number}" for number in range(2, len(row)) if f"label_{number}" in row)]
            one["classifications"] = [
                [numbers.setdefault(row[f"label{place}"], str(len(numbers))), round(row[f"probability{place}"], 5)]
                for place in places
            ]
        here.append(one)
    whole = {
        "info": {"format_version": "1.4", "classifier": model, "classification_completion_time": f"{_now():%F %T}"},
        "detection_categories": {number: name for name, number in _CATEGORIES.items()},
        "classification_categories": {number: name for name, number in numbers.items()},
        "images": [{"file": file, "detections": some} for file, some in found.items()],
    }
    return json.dumps(whole, indent=1)


def observations(rows: Rows, package: str, model: str) -> tuple[pd.DataFrame, int]:
    """Camtrap DP 1.0's table of observations, by machine, of pictures of a package; and how many are not among them.

    BadInput where none is.
    """
    known = media(package, "camtrap_dp")
    paths = pd.Series([str(Path(row["picture"]).absolute()) for row in rows]).drop_duplicates()
    named, names = known_by(known["filePath"], paths, Path(package).absolute(), f"camtrap_dp={package}")
    places = dict(zip(paths, pd.Index(named).get_indexer(pd.Index(names)).tolist(), strict=True))
    made = []
    for number, row in enumerate(rows, start=1):
        place = places[str(Path(row["picture"]).absolute())]
        if place < 0:
            continue
        one, animal = known.iloc[place], row["probability"] is not None
        boxed = row.get(COLUMNS[0]) is not None
        made.append(
            {
                "observationID": f"{one['mediaID']}-{number}", "deploymentID": one["deploymentID"],
                "mediaID": one["mediaID"], "eventID": None, "eventStart": one["timestamp"],
                "eventEnd": one["timestamp"], "observationLevel": "media",
                "observationType": "animal" if animal and row["label"] not in _KINDS else _KINDS[row["label"]],
                "cameraSetupType": None,
                "scientificName": _identified(row).name if animal and row["label"] not in _KINDS else None,
                "count": 1 if animal and boxed else None,
                "lifeStage": None, "sex": None, "behavior": None, "individualID": None,
                "individualPositionRadius": None, "individualPositionAngle": None, "individualSpeed": None,
                **dict(zip(("bboxX", "bboxY", "bboxWidth", "bboxHeight"), map(row.get, COLUMNS), strict=True)),
                "classificationMethod": "machine", "classifiedBy": model,
                "classificationTimestamp": f"{_now():%Y-%m-%dT%H:%M:%SZ}",
                "classificationProbability": _identified(row).probability,
                "observationTags": None, "observationComments": None,
            }
        )  # fmt: skip
    table = pd.DataFrame(made).astype({"count": "Int64"})
    return table, sum(place < 0 for place in places.values())


def darwin_core(rows: Rows, model: str) -> pd.DataFrame:
    """Terms of https://dwc.tdwg.org/terms/, a row an organism; an answer is unverified until somebody `checked` it.

    Of a row that a person put right, `was` is what the network said.
    """
    made = []
    for row in rows:
        if row["probability"] is None or row["label"] in _KINDS:
            continue
        sure = _identified(row)
        made.append(
            {
                "basisOfRecord": "MachineObservation", "associatedMedia": row["picture"],
                "scientificName": sure.name, "taxonRank": sure.rank, **sure.above,
                "vernacularName": row.get("common_name") if sure.whole else None,
                "verbatimIdentification": row["label"],
                "identifiedBy": None if "was" in row else model, "dateIdentified": f"{_now():%F}",
                "identificationVerificationStatus": "verified" if row.get("checked") else "unverified",
                "identificationRemarks": f"probability {sure.probability:.3f}"
                + (f" of {row['was']}, as {model} said" if "was" in row else ""),
            }
        )  # fmt: skip
    return pd.DataFrame(made)


def write_also(
    rows: Rows, output: Path, asked: Sequence[str], root: Path, model: str, package: str | None
) -> list[str]:
    """Write the forms `asked` for beside `output`; their names, and what is to be said of them."""
    written: list[str] = []

    def write(ending: str, how: Callable[[Path], object]) -> None:
        file = output.with_name(f"{output.stem}.{ending}")
        write_atomically(file, how, shared=True)
        written.append(file.name)

    if "megadetector" in asked:
        text = megadetector(rows, root, model)
        write("megadetector.json", lambda path: path.write_text(text, encoding="utf-8"))
    if "darwin_core" in asked:
        terms = darwin_core(rows, model)
        write("dwc.csv", lambda path: write_csv(terms, path))
    if package is not None:
        table, strange = observations(rows, package, model)
        write("observations.csv", lambda path: write_csv(table, path))
        if strange:
            written.append(f"without {strange:,} pictures that the package lacks")
    return written


def check_also(asked: Sequence[str], package: str | None) -> None:
    """BadInput for a package that is none, before any work."""
    if "camtrap_dp" in asked and package is None:
        raise BadInput("also=[camtrap_dp]: name the package whose pictures these are with camtrap_dp=FOLDER")
    if package is not None:
        media(package, "camtrap_dp")


class _Identified(NamedTuple):
    """What to write down of a row: a `name` of a `rank`, and the ranks `above` species down to it.

    `whole`: it is all of a class.
    """

    name: str | None
    rank: str | None
    above: dict[str, Any]
    probability: float | None
    whole: bool = True


def _identified(row: dict[str, Any]) -> _Identified:
    """The taxon that is sure; of a class as a whole, which a person may have looked at, the lowest rank known of it.

    Its label where that has no taxonomy, and no name where no rank is sure, or it is perhaps none of the classes.
    """
    known = [rank for rank in RANKS if row.get(rank)]
    looked_at = row.get("checked") or row.get("corrected") or "was" in row
    if row.get("unknown") and not looked_at:
        return _Identified(None, None, {}, row["probability"], whole=False)
    rank = LABEL if looked_at or "taxon" not in row else row["rank"]
    if rank in (LABEL, RANKS[-1]):
        name = str(row[known[-1]] if known else row["label"])
        above = {one: row[one] for one in known if one != RANKS[-1]}
        return _Identified(name, known[-1] if known else None, above, row["probability"])
    above = {one: row[one] for one in (known[: known.index(rank) + 1] if rank in known else ())}
    sure = row["probability"] if rank is None else row["taxon_probability"]
    return _Identified(row["taxon"], rank if rank in RANKS else None, above, sure, whole=False)


def _now() -> datetime:
    return datetime.now(UTC)
