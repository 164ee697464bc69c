"""The CSV of answers: what it may replace, and how it is written so that nothing is lost."""

import codecs
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.errors import BadInput, Stopped
from pipeline.data.files import write_csv

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


def write_answers(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a row a picture. Where the file cannot be written after all they are printed, and Stopped says so."""
    table = pd.DataFrame(rows)
    try:
        write_csv(table, path)
    except OSError as error:
        write_csv(table, sys.stdout)
        raise Stopped(f"output={path} could not be written ({error.strerror}): all answers stand above") from None
