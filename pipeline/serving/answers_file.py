"""The CSV of answers: what it may replace, what of it stays, and how it is written so that nothing is lost.

People write into its columns `corrected` (what the picture shows, where the label is wrong) and `checked` (yes, where
somebody has looked). Those are theirs: answers that are written anew leave them as they are.
"""

import codecs
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput, Stopped
from pipeline.data.corrections import BY_PEOPLE
from pipeline.data.files import read_table, unguarded, write_csv

_BEGIN = b"picture,label,probability"  # the header of such a file


def holds_answers(path: Path) -> bool:
    """Whether a file is an earlier answer, or empty, so that nothing is lost where it is written anew."""
    try:
        if not path.is_file():
            return path.is_char_device()  # nothing lies in it
        with path.open("rb") as file:
            begins = file.read(len(_BEGIN) + len(codecs.BOM_UTF8))
    except OSError as error:
        raise BadInput(f"output={path} cannot be read ({error.strerror}); name another file") from None
    return not begins or begins.removeprefix(codecs.BOM_UTF8).startswith(_BEGIN)


def read_answers(path: Path, key: str = "output") -> pd.DataFrame:
    """An earlier answer's rows, as texts. BadInput where it is none."""
    table = read_table(path, key)
    if "picture" not in table:
        raise BadInput(f"{key}={path}: it has no column picture; name the file that predict wrote")
    for name in set(table).intersection(("picture", "label", *BY_PEOPLE)):
        table[name] = unguarded(table[name])
    return table


def write_answers(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a row a picture, with what people wrote of it in an earlier answer there; rows that only that has stay
    where somebody wrote into them, whenever this is killed. Where the file cannot be written after all they are
    printed, and Stopped says so.
    """
    table = with_checks(pd.DataFrame(rows), path)
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, say
            write_csv(table, path)
        else:
            write_atomically(path.resolve(), lambda fresh: write_csv(table, fresh), shared=True)
    except OSError as error:
        write_csv(table, sys.stdout)
        raise Stopped(f"output={path} could not be written ({error.strerror}): all answers stand above") from None


def with_checks(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Answers with the columns `corrected` and `checked`, as people filled them in a file that is there."""
    made = table.assign(**dict.fromkeys(BY_PEOPLE, None))
    if not path.is_file() or not path.stat().st_size:
        return made
    earlier = read_answers(path)
    written = earlier.reindex(columns=list(BY_PEOPLE)).notna().any(axis=1)
    if not written.any():
        return made
    earlier = earlier[written]
    keys = [name for name in ("picture", "box_x", "box_y") if name in earlier and name in made]
    known = pd.Index(_named(earlier, keys))
    places = known.get_indexer(pd.Index(_named(made, keys)))
    for name in BY_PEOPLE:
        made[name] = earlier.reindex(columns=[name])[name].array.take(places, allow_fill=True)
    gone = earlier.drop(index=earlier.index[places[places >= 0]])
    return pd.concat([made.astype(object), gone.astype(object)], ignore_index=True) if len(gone) else made


def _named(table: pd.DataFrame, keys: list[str]) -> list[str]:
    """What tells a row: its picture, and of several animals in one the box."""
    boxes = [pd.to_numeric(table[name], errors="coerce").map("{:.4f}".format) for name in keys[1:]]
    return ["\0".join(parts) for parts in zip(table["picture"].astype(str), *boxes, strict=True)]
