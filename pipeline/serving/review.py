"""Answers as folders of pictures, which a person puts right by dragging; and back.

DIR/sorted/LABEL/...    what was answered
DIR/unsure/LABEL/...    what the model was not sure of (min_probability)
DIR/pictures.csv        which picture each of these files is
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.paths import expanded
from pipeline.common.wording import counted, first_few
from pipeline.data.files import read_table, unguarded, write_csv

SORTED, UNSURE, LISTED = "sorted", "unsure", "pictures.csv"
By = Literal["copy", "link"]
log = logging.getLogger("pipeline.predict")


def check_folders(asked: str, pictures: Sequence[Path]) -> Path:
    """Where pictures are to be put. BadInput where that is among those asked about, or holds something else."""
    folder = expanded(asked, "folders").absolute()
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"folders={asked}: it is a file; name a folder, which is made")
    if any(folder in picture.absolute().parents for picture in pictures):
        raise BadInput(f"folders={asked}: pictures asked about lie in it; name a folder beside them")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LISTED).is_file():
        raise BadInput(f"folders={asked}: it holds something else than earlier answers; name a new folder")
    return folder


def put_into_folders(rows: Sequence[dict[str, Any]], folder: Path, by: By) -> int:
    """Put each row's picture into the folder of its answer; how many were put.

    Those that are there already, wherever somebody dragged them, stay as they are. Stopped where the disk is full.
    """
    listed = _listed(folder) if (folder / LISTED).is_file() else pd.DataFrame(columns=["file", "picture", "label"])

    def note(rows: pd.DataFrame) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / LISTED, lambda path: write_csv(rows, path))

    known, names = set(listed["picture"]), set(listed["file"])
    new: list[dict[str, str]] = []
    try:
        note(listed)  # by which the folder is known for one of answers, should this be killed
        for row in rows:
            if row["picture"] in known:
                continue
            name = _free(Path(row["picture"]), names)
            place = folder / (UNSURE if row.get("answered") is False else SORTED) / _as_folder(row["label"])
            place.mkdir(parents=True, exist_ok=True)
            if by == "link":
                (place / name).unlink(missing_ok=True)
                (place / name).symlink_to(Path(row["picture"]).absolute())
            else:
                shutil.copy2(row["picture"], place / name)
            new.append({"file": name, "picture": row["picture"], "label": row["label"]})
    except OSError as error:
        raise Stopped(
            f"folders={folder}: {error.strerror} after {counted(len(new), 'picture')}; "
            "make room, or say folders_by=link, then type the same again"
        ) from None
    finally:
        if new:
            note(pd.concat([listed, pd.DataFrame(new, columns=listed.columns)], ignore_index=True))
    return len(new)


def corrections(asked: str) -> pd.DataFrame:
    """Where pictures lie now: `picture`, the `label` that it had, and `corrected`, the folder where that is another.

    What lies in `sorted` is taken for looked at; what is left in `unsure`, or was taken away, is not in it. BadInput
    where the folder is no such one.
    """
    folder = expanded(asked, "corrected").absolute()
    if not (folder / LISTED).is_file():
        raise BadInput(f"corrected={asked}: there is no {folder / LISTED}; name the folder of predict folders=")
    listed = _listed(folder)
    labels = {_as_folder(label): label for label in listed["label"]}
    where: dict[str, str] = {}
    strangers = []
    named = set(listed["file"])
    for file in _files(folder / SORTED):
        inside = file.relative_to(folder / SORTED).parts[:-1]
        if file.name not in named or not inside:
            strangers.append(str(file.relative_to(folder)))
            continue
        label = labels.get(inside[0], inside[0])
        if where.setdefault(file.name, label) != label:
            raise BadInput(
                f"corrected={asked}: {file.name} lies in {where[file.name]} and in {label}; keep one of them"
            )
    if strangers:
        log.warning("%s: files that no answer put there are passed over: %s", folder, first_few(strangers, 3))
    found = listed[listed["file"].isin(list(where))]
    if found.empty:
        raise BadInput(f"corrected={asked}: no picture lies in {folder / SORTED}; drag what is right there")
    shows = found["file"].map(where)
    return found[["picture", "label"]].assign(corrected=shows.where(shows != found["label"])).reset_index(drop=True)


def merged(answers: pd.DataFrame, found: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Answers with what folders say in `corrected` and `checked`; and how many of these pictures are not among them."""
    places = pd.Index(found["picture"]).get_indexer(pd.Index(answers["picture"]))
    here = places >= 0
    made = answers.copy()
    shows = found["corrected"].fillna(found["label"]).to_numpy()[places]
    now = pd.Series(shows, index=made.index).where(here)
    made["corrected"] = now.where(now != made["label"]).where(here, made.get("corrected"))
    made["checked"] = pd.Series("yes", index=made.index).where(here, made.get("checked"))
    return made, len(found) - int(here.sum())


def _listed(folder: Path) -> pd.DataFrame:
    table = read_table(folder / LISTED, "folders")
    missing = {"file", "picture", "label"}.difference(table)
    if missing:
        raise BadInput(f"{folder / LISTED} has no column {min(missing)}; it is not as predict left it")
    return table[["file", "picture", "label"]].apply(unguarded)


def _files(folder: Path) -> Iterator[Path]:
    for above, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(above) / name for name in sorted(files) if not name.startswith("."))


def _free(picture: Path, names: set[str]) -> str:
    """A name that no other picture has there; those of several folders get the folder's before theirs."""
    name, number = picture.name, 1
    if name in names:
        name = f"{picture.parent.name}_{picture.name}"
    while name in names:
        number += 1
        name = f"{picture.stem}_{number}{picture.suffix}"
    names.add(name)
    return name


def _as_folder(label: str) -> str:
    """A label as a folder can be called."""
    return re.sub(r'[/\\:*?"<>|\0]', "_", str(label)).strip(" .") or "_"
