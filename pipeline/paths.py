"""Paths as people type them."""

import os
from pathlib import Path

from pipeline.errors import BadInput


def expanded(path: str | os.PathLike[str], key: str) -> Path:
    """The path, `~` and `~name` standing for the home of who runs this or is called so.

    Raises `BadInput`, which names `key`, where nobody is called so.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        first = Path(path).parts[0]
        raise BadInput(
            f"{key}: {path} begins with {first}, but no user is called {first[1:]!r}; "
            f"for a folder of that name write ./{first}"
        ) from None
