"""Which process is which, as numbers are given again."""

import psutil


def identity(pid: int) -> str:
    """A process by its number and when it began; without the latter if there is none."""
    try:
        return f"{pid} {psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return f"{pid} gone"
