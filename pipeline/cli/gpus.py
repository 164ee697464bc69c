"""The GPUs of this machine shared out among jobs that run beside each other, each in a process of its own."""

import os
import tempfile
from getpass import getuser
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

_CORES = 4  # of a job that has no GPU
_VISIBLE = "CUDA_VISIBLE_DEVICES"

_held: list[FileLock] = []  # until this process ends


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES names, else the numbers of all; found without CUDA, which would settle on them."""
    named = os.environ.get(_VISIBLE)
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def jobs_at_once(devices: int = 1) -> int:
    """How many jobs of so many devices this machine takes; without GPUs one for four cores a device, at least two."""
    gpus = len(visible_gpus())
    return max(1, gpus // devices) if gpus else max(2, (os.cpu_count() or 1) // (_CORES * devices))


def take_gpus(devices: int = 1) -> None:
    """Have this process see so many GPUs only: those that the fewest other jobs have, of whichever command.

    To be called before CUDA begins. A job's places are free again when its process ends, however it does.
    """
    gpus, taken = visible_gpus(), list[str]()
    if len(gpus) <= devices or _held:
        return
    folder = Path(tempfile.gettempdir()) / f"pipeline-gpus-{getuser()}"
    folder.mkdir(exist_ok=True)
    for place in count():
        gpu = gpus[place % len(gpus)]
        if gpu in taken:
            continue
        lock = FileLock(folder / f"{gpu.replace('/', '-')}.{place // len(gpus)}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        _held.append(lock)
        taken.append(gpu)
        if len(taken) == devices:
            os.environ[_VISIBLE] = ",".join(taken)
            return
