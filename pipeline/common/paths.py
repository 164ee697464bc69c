"""Paths as people type them."""

import errno
import os
from pathlib import Path

from pipeline.common.errors import BadInput


def expanded(path: str | os.PathLike[str], key: str) -> Path:
    """The path, `~` and `~name` standing for the home of who runs this or is called so.

    Raises `BadInput`, which names `key`, where nobody is called so, and for a path that is no UTF-8.
    """
    check_utf8(path, key)
    try:
        whole = Path(path).expanduser()
    except RuntimeError:
        first = Path(path).parts[0]
        raise BadInput(
            f"{key}: {path} begins with {first}, but no user is called {first[1:]!r}; "
            f"for a folder of that name write ./{first}"
        ) from None
    try:
        whole.stat()
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # else whoever opens it says what is wrong
            raise BadInput(f"{key}: {str(path)[:80]} is no usable path: {error.strerror}") from None
    return whole


def check_utf8(path: str | os.PathLike[str], key: str) -> None:
    """Raises `BadInput` for a path with bytes that are no UTF-8: no table, store or page could hold its name."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="replace")
        raise BadInput(f"{key}: the name of {shown} is not valid UTF-8; rename it") from None
