"""Camtrap DP 1.x, the exchange format of camera-trap data (https://camtrap-dp.tdwg.org): media and observations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.published import NOTHING, Detections
from pipeline.data.files import column, existing, read_table

PACKAGE = "datapackage.json"
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
_OF_KINDS = {"blank": NOTHING[0], "human": "person", "vehicle": "vehicle", "animal": "animal"}


def media(folder: str, key: str) -> pd.DataFrame:
    """The pictures of a package: `mediaID`, `deploymentID`, `timestamp`, `filePath`. BadInput for another form."""
    return _resource(folder, "media", ("mediaID", "deploymentID", "timestamp", "filePath"), key)


def read_package(folder: str, key: str) -> Detections:
    """What a package's observations of single pictures say, as of a detector's file. BadInput for another form."""
    pictures = media(folder, key)
    table = _resource(folder, "observations", ("mediaID", "observationType"), key)
    table = table[table["mediaID"].notna()].reset_index(drop=True)
    places = pd.Index(pictures["mediaID"]).get_indexer(pd.Index(table["mediaID"]))
    if (places < 0).any():
        raise BadInput(f"{key}={folder}: observations of {table['mediaID'][places < 0].iloc[0]}, which media lacks")
    kind = table["observationType"].map(_OF_KINDS)
    name = table.reindex(columns=["scientificName"])["scientificName"]
    numbers = table.reindex(columns=[*_BOX, "classificationProbability"]).apply(pd.to_numeric, errors="coerce")
    made = pd.DataFrame(numbers[list(_BOX)].to_numpy(np.float32), columns=list(COLUMNS))
    made.insert(0, "file", pd.Categorical(pictures["filePath"].to_numpy()[places]))
    made.insert(1, "category", kind.fillna("unknown"))
    made.insert(2, "label", name.where(kind == "animal"))
    by = table.reindex(columns=["classificationMethod"])["classificationMethod"]
    return Detections(made.assign(confidence=np.nan), by_people=not (by == "machine").any())


def _resource(folder: str, name: str, wanted: tuple[str, ...], key: str) -> pd.DataFrame:
    where = existing(folder, key, "folder of a Camtrap DP package", folder=True)
    facts = _facts(where, key)
    found = [one for one in facts.get("resources", []) if isinstance(one, dict) and one.get("name") == name]
    file = existing(where / str(found[0].get("path", "")) if found else where / f"{name}.csv", key, f"table of {name}")
    table = read_table(file, key)
    for title in wanted:
        column(table, title, key, file)
    return table


def _facts(folder: Path, key: str) -> dict[str, Any]:
    file = existing(folder / PACKAGE, key, "description of the package")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        profile = str(facts["profile"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{key}: {file} describes no Camtrap DP package ({error!r})") from None
    if "camtrap-dp/1" not in profile:
        raise BadInput(f"{key}: {file} is of {profile}; Camtrap DP 1.x is read")
    return facts
