"""Pictures that could not be decoded, remembered from run to run, so that the next does not open them again.

A line of JSON a picture in `unreadable-1.jsonl` in the user's cache folder: its path, size, time of change, and
why. A picture that has changed since is tried anew; so are all, when the 1 becomes a 2 as decoding learns more.
"""

import json
import os
from collections.abc import Iterable

from pipeline.data.decoding import UnreadablePicture
from pipeline.data.table import PictureTable
from pipeline.data.user_cache import cache_folder

_FILE = "unreadable-1.jsonl"


def remember(picture: UnreadablePicture) -> None:
    """Note a file that cannot be decoded however often it is tried. A cache that cannot be written does no harm."""
    if not picture.lasting:
        return
    try:
        path, state = os.path.abspath(picture.path), os.stat(picture.path)  # noqa: PTH100, PTH116
        facts = {"path": path, "size": state.st_size, "mtime_ns": state.st_mtime_ns, "reason": picture.reason}
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        # One short write at the end of the file: several processes' lines do not mix.
        with (folder / _FILE).open("ab", buffering=0) as file:
            file.write(json.dumps(facts).encode() + b"\n")
    except OSError:
        pass  # also where the picture itself is gone: there is nothing to know it again by


def remembered(table: PictureTable) -> dict[str, str]:
    """The table's files that are known not to decode, and are as they were then: their path, and why."""
    if table.root is None or not (cache_folder() / _FILE).is_file():
        return {}
    root = os.path.join(os.path.abspath(table.root), "")  # noqa: PTH100, PTH118
    facts = {one["path"]: one for one in _lines() if one["path"].startswith(root)}
    here = table.rows["path"].isin([path.removeprefix(root) for path in facts])
    own = os.path.join(os.fspath(table.root), "")  # noqa: PTH118
    return {
        own + path: facts[root + path]["reason"] for path in table.rows["path"][here] if _unchanged(facts[root + path])
    }


def _lines() -> Iterable[dict[str, str]]:
    """What the file says; a line that is not whole (a full disk, a crash) is passed over."""
    wanted = {"path", "size", "mtime_ns", "reason"}
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


def _unchanged(facts: dict[str, str]) -> bool:
    try:
        state = os.stat(facts["path"])  # noqa: PTH116
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (facts["size"], facts["mtime_ns"])
