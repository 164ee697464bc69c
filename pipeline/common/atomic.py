"""Files that are there whole or not at all, whoever reads or is killed meanwhile; and what the killed left behind."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TypeVar

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing that the killed left is cleared
    fcntl = None

_PREFIX = ".making-"
Made = TypeVar("Made")


def write_atomically(file: Path, write: Callable[[Path], object], *, shared: bool = False) -> None:
    """Let `write(path)` fill a fresh file beside `file`, then give it that name.

    Who has an older one open or mapped keeps it. Whatever `write` raises passes, and leaves nothing behind; what a
    killed process left beside `file` is deleted. `shared` files may be read by others, as who serves a run may be.
    """
    clear_abandoned(file.parent)
    handle, fresh = _claimed(lambda: _fresh(file))
    try:
        write(fresh)
        if shared:
            fresh.chmod(0o644)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
        os.close(handle)


def held_folder(prefix: str, above: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder that ends with this process; those that killed processes left are deleted.

    `prefix` must be this program's own: every folder that begins so, and whose maker is dead, goes.
    """
    clear_abandoned(Path(above or tempfile.gettempdir()), f"{prefix}*")
    handle, made = _claimed(lambda: _folder(prefix, above))
    # A worker outlives its killed parent by seconds: the folder is the parent's.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: os.close(handle))
    return made


def clear_abandoned(folder: Path, pattern: str = f"{_PREFIX}*") -> None:
    """Delete what matches in a folder (with `**/` before it: below too) and whose maker was killed.

    A maker that lives holds a lock on it, which the system frees when the process ends in whatever way.
    """
    if fcntl is None:
        return
    for found in list(folder.glob(pattern)):
        with suppress(OSError):  # held, somebody else's, or gone by now
            handle = os.open(found, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if found.is_dir():
                    shutil.rmtree(found, ignore_errors=True)
                else:
                    found.unlink()
            finally:
                os.close(handle)


def _claimed(make: Callable[[], tuple[int, str, Made]]) -> tuple[int, Made]:
    """What `make` gives (a handle, a name, and the rest), locked until the handle is closed.

    Made again where another process cleared it away in the moment before it was locked.
    """
    while True:
        handle, name, made = make()
        if fcntl is None:
            return handle, made
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(name):  # noqa: PTH110 - the name is random: no other has it
                return handle, made
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks: nothing there is cleared
            return handle, made
        os.close(handle)


def _fresh(file: Path) -> tuple[int, str, Path]:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{_PREFIX}{file.name}.")
    return handle, name, Path(name)


def _folder(prefix: str, above: Path | None) -> tuple[int, str, tempfile.TemporaryDirectory[str]]:
    made = tempfile.TemporaryDirectory(prefix=prefix, dir=above)
    return os.open(made.name, os.O_RDONLY), made.name, made
