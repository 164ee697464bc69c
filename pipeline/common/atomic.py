"""Files that are there whole or not at all, whoever reads or is killed meanwhile; and what the killed left behind.

Who makes or uses a file holds a lock on it, which the system frees when the process ends in whatever way.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TypeVar

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing that the killed left is cleared
    fcntl = None

_PREFIX = ".making-"
OWN_FOLDERS = "pipeline-own-"  # of commands; each clears away, as it begins, what killed ones left of them
Made = TypeVar("Made")


def write_atomically(
    file: Path, write: Callable[[Path], object], *, shared: bool = False, before: Path | None = None
) -> None:
    """Let `write(path)` fill a fresh file beside `file`, then give it that name.

    Who has an older one open or mapped keeps it. Whatever `write` raises passes, and leaves nothing behind; what a
    killed process left beside `file` is deleted. `shared` files may be read by others, as who serves a run may be.
    The file that was there is kept as `before`; a process that is killed between the two leaves only that.
    """
    clear_abandoned(file.parent)
    handle, fresh = _claimed(lambda: _fresh(file))
    try:
        write(fresh)
        if shared:
            fresh.chmod(0o644)
        if before and file.exists():
            file.replace(before)
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


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder for as long as this lasts; the next command deletes what a killed process left of it."""
    handle, made = _claimed(lambda: _folder(OWN_FOLDERS, None))
    try:
        with made as name:
            yield Path(name)
    finally:
        os.close(handle)


@contextmanager
def temporary_files_cleared() -> Iterator[None]:
    """What libraries put into temporary files meanwhile lies in a `scratch_folder`, and does not stay after a kill."""
    with scratch_folder() as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


def clear_abandoned(folder: Path, pattern: str = f"{_PREFIX}*") -> None:
    """Delete what matches in a folder (with `**/` before it: below too) and whose maker was killed."""
    if fcntl is not None:
        for found in list(folder.glob(pattern)):
            delete_unless_held(found, without_locks=False)


def open_held(file: Path, flags: int = os.O_RDONLY) -> int:
    """A handle of a file; until it is closed, and what is mapped of it gone, `delete_unless_held` leaves the file."""
    flags |= getattr(os, "O_BINARY", 0)
    return _claimed(lambda: (os.open(file, flags, 0o666), str(file), None), shared=True)[0]


def delete_unless_held(path: Path, *, without_locks: bool = True) -> bool:
    """Delete a file or folder; False where a process holds it, or it is not ours to delete.

    `without_locks`: also where the system, or the disk, has none to ask.
    """
    try:
        if fcntl is None:
            path.unlink()
            return True
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            free = _locked(handle)
            if free is False or (free is None and not without_locks):
                return False
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(handle)
    except OSError as error:
        return isinstance(error, FileNotFoundError)  # another process was quicker
    return True


def _claimed(make: Callable[[], tuple[int, str, Made]], *, shared: bool = False) -> tuple[int, Made]:
    """What `make` gives (a handle, a name, and the rest), locked until the handle is closed.

    Made again where another process cleared it away in the moment before it was locked.
    """
    while True:
        handle, name, made = make()
        free = _locked(handle, shared=shared)
        if free is None:  # nothing there is cleared
            return handle, made
        with suppress(FileNotFoundError):
            if free and os.path.samestat(Path(name).stat(), os.fstat(handle)):
                return handle, made
        os.close(handle)


def _locked(handle: int, *, shared: bool = False) -> bool | None:
    """Whether the lock was to be had, and is now this handle's; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
    except OSError as error:
        return False if isinstance(error, BlockingIOError) else None
    return True


def _fresh(file: Path) -> tuple[int, str, Path]:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{_PREFIX}{file.name}.")
    return handle, name, Path(name)


def _folder(prefix: str, above: Path | None) -> tuple[int, str, tempfile.TemporaryDirectory[str]]:
    made = tempfile.TemporaryDirectory(prefix=prefix, dir=above)
    return os.open(made.name, os.O_RDONLY), made.name, made
