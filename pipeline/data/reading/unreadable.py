"""Pictures that could not be decoded, remembered from run to run, so that the next does not open them again.

A line of JSON a picture in `unreadable-2.jsonl` in the user's cache folder: its path, what it holds (a digest), and
why. A picture that has changed since is tried anew; so are all, when the 2 becomes a 3 as decoding learns more.
"""

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.common.cache_folder import cache_folder
from pipeline.data.contents import content_digests, file_states
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.data.table import PictureTable

_FILE = "unreadable-2.jsonl"


def remember(picture: UnreadablePicture) -> None:
    """Note a file that cannot be decoded however often it is tried. A cache that cannot be written does no harm."""
    if not picture.lasting:
        return
    try:
        path = os.path.abspath(picture.path)  # noqa: PTH100
        facts = {"path": path, "content": _contents([picture.path])[0], "reason": picture.reason}
        if not facts["content"]:
            return  # gone, or no file: there is nothing to know it again by
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        # One short write at the end of the file: several processes' lines do not mix.
        with (folder / _FILE).open("ab", buffering=0) as file:
            file.write(json.dumps(facts).encode() + b"\n")
    except OSError:
        pass


def remembered(table: PictureTable) -> dict[str, str]:
    """The table's files that are known not to decode and hold what they held then: their `path`, and why."""
    if table.root is None or not (cache_folder() / _FILE).is_file():
        return {}
    root = os.path.join(os.path.abspath(table.root), "")  # noqa: PTH100, PTH118
    facts = {one["path"]: one for one in _lines() if one["path"].startswith(root)}
    names = table.files
    here = np.flatnonzero(names.isin([path.removeprefix(root) for path in facts]).to_numpy())
    now = _contents(list(table.sources(here)))
    return {
        path: facts[root + path]["reason"]
        for path, held in zip(names.iloc[here], now, strict=True)
        if held and held == facts[root + path]["content"]
    }


def _lines() -> Iterable[dict[str, Any]]:
    """What the file says; a line that is not whole (a full disk, a crash) is passed over."""
    wanted = {"path", "content", "reason"}
    try:
        text = (cache_folder() / _FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            facts = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(facts, dict) and set(facts) == wanted and isinstance(facts["path"], str):
            yield facts


def _contents(files: list[str]) -> list[int]:
    """A digest of what each file holds, 0 for one that cannot be read."""
    return content_digests(files, file_states(files)).tolist()
