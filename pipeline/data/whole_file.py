"""Files that are there whole or not at all, whoever reads or is killed meanwhile."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write(path)` fill a fresh file beside `file`, then give it that name.

    Who has an older one open or mapped keeps it. Whatever `write` raises passes, and leaves nothing behind.
    """
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".making-{file.name}.")
    os.close(handle)
    fresh = Path(name)
    try:
        write(fresh)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
