"""Pictures that lie where a set's pictures are to be found, but that the set does not name."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pipeline.data.files import SUFFIXES
from pipeline.data.table import chunks

# A home folder may hold millions of files, and a list of millions of pictures is made by a program.
MOST_LISTED = MOST_LOOKED_AT = 200_000
_SHOWN = 3

log = logging.getLogger(__name__)


def tell_unlisted(root: Path, listed: pd.Series, source: str) -> int | None:
    """How many pictures under `root` are not among the paths `listed` (n,): counted, and the first few named.

    What is hidden and what lies behind links to folders does not count. None where more is listed than is looked for.
    """
    if len(listed) > MOST_LISTED:
        return None
    named = {os.path.normpath(path) for some in chunks(listed.dropna()) for path in some}
    seen = others = 0
    shown: list[str] = []
    for path in _files(root):
        seen += 1
        if seen > MOST_LOOKED_AT:
            break
        if path.lower().endswith(SUFFIXES) and path not in named:
            others += 1
            shown += [path] if len(shown) < _SHOWN else []
    if others:
        log.warning(
            "warning: %s: pictures under %s that are not named there, and left out: %d (%s%s)%s", source, root, others,
            ", ".join(os.fsencode(path).decode(errors="replace") for path in shown),
            ", ..." if others > len(shown) else "",
            f" (of the first {MOST_LOOKED_AT:,} files looked at)" if seen > MOST_LOOKED_AT else "",
        )  # fmt: skip
    return others


def _files(root: Path) -> Iterator[str]:
    """The files under a folder by their paths from it, a folder's before those of the folders below."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                shown = sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError:  # one that may not be read has nothing that could be trained on
            continue
        plain = [one for one in shown if not one.is_symlink() or Path(one.path).is_file()]
        folders = {one.name for one in plain if one.is_dir()}
        yield from (os.path.join(folder, one.name) for one in plain if one.name not in folders)  # noqa: PTH118
        waiting += [os.path.join(folder, name) for name in sorted(folders, reverse=True)]  # noqa: PTH118
