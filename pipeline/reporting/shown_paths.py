"""Paths as pages show them: pages are made to be shared, and where things lie on this machine is nobody's business."""

import os
import re
from collections.abc import Callable, Iterable


def shown_below(paths: Iterable[str], roots: Iterable[str] = ()) -> Callable[[str], str]:
    """What shows a path without its beginning: that of `roots` which it is below, else what all `paths` share.

    A relative path is shown as it is.
    """
    bases = list(roots)
    is_absolute = os.path.isabs  # of text, as there may be millions
    absolute = [path for path in paths if is_absolute(path)]
    if absolute:
        bases.append(os.path.commonpath([os.path.dirname(path) for path in absolute]))  # noqa: PTH120 - as above

    def shown(path: str) -> str:
        if not is_absolute(path):
            return path
        for base in bases:
            if path.startswith(base.rstrip(os.sep) + os.sep):
                return os.path.relpath(path, base)
        return os.path.basename(path)  # noqa: PTH119 - as above

    return shown


def without_paths(text: str) -> str:
    """A text with files by their last name alone."""
    return re.sub(r"(?<![\w:/])~?/(?:[^/\s:;,'\"`]+/)+(?=[^/\s])", "", text)
