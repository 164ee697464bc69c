"""The CSV of answers: where it may go, and how it is written so that nothing is lost."""

import codecs
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.paths import expanded
from pipeline.data.files import write_csv
from pipeline.tracking.store import why_unwritable

_BEGIN = b"picture,label,probability"  # the header of such a file


def check_output(output: str, pictures: Iterable[Path] = ()) -> Path:
    """The file to write. BadInput where its folder is not there or takes no file, said before any work.

    So it is for a name without .csv, for one of the `pictures`, and for a file that holds anything but earlier answers.
    """
    path = expanded(output, "output")
    if not path.parent.is_dir() or path.is_dir():
        raise BadInput(f"output={output}: a file's name in a folder that is there is wanted")
    if path.suffix.lower() != ".csv":
        raise BadInput(f"output={output}: the answers are a table: give a name that ends in .csv")
    if path.exists():
        if any(path.samefile(picture) for picture in pictures):
            raise BadInput(f"output={output} is one of the pictures asked about; name another file")
        if not _holds_answers(path):
            raise BadInput(f"output={output} holds something else than earlier answers; name another file")
    if reason := why_unwritable(path):
        raise BadInput(f"output={output} cannot be written: {reason}; name another file")
    return path


def _holds_answers(path: Path) -> bool:
    """Whether a file is an earlier answer, or empty, so that nothing is lost where it is written anew."""
    try:
        if not path.is_file():
            return path.is_char_device()  # nothing lies in it
        with path.open("rb") as file:
            begins = file.read(len(_BEGIN) + len(codecs.BOM_UTF8))
    except OSError as error:
        raise BadInput(f"output={path} cannot be read ({error.strerror}); name another file") from None
    return not begins or begins.removeprefix(codecs.BOM_UTF8).startswith(_BEGIN)


def write_answers(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a row a picture. Where the file cannot be written after all they are printed, and Stopped says so."""
    table = pd.DataFrame(rows)
    try:
        write_csv(table, path)
    except OSError as error:
        write_csv(table, sys.stdout)
        raise Stopped(f"output={path} could not be written ({error.strerror}): all answers stand above") from None
