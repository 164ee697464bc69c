"""Which process is which, as numbers are given again; and which of several that work together this one is."""

import os
import threading
from collections.abc import Callable
from time import sleep

import psutil

_FIRST_SPEAKS = 10.0  # seconds; it has ended by then, and so has who waits


def identity(pid: int) -> str:
    """A process by its number and when it began; without the latter if there is none."""
    try:
        return f"{pid} {psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return f"{pid} gone"


def rank_given() -> int | None:
    """Which of several processes torchrun or SLURM's srun started this one as; None where it is one alone."""
    rank, of = ("RANK", "WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else ("SLURM_PROCID", "SLURM_NTASKS")
    if rank not in os.environ or int(os.environ.get(of, "1")) == 1:
        return None
    typed = rank != "RANK" and os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return None if typed else int(os.environ[rank])


def local_rank_given() -> int | None:
    """The same, counted on this machine alone."""
    if rank_given() is None:
        return None
    return int(os.environ["LOCAL_RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "SLURM_LOCALID"])


def let_the_first_speak() -> None:
    """In any but the first of several processes that torchrun or srun started, which end all as soon as one ends."""
    if rank_given():
        sleep(_FIRST_SPEAKS)


def end_with(parent: int, every: float, is_busy: Callable[[], bool] = lambda: False) -> None:
    """Have this process end soon after its `parent` has, whatever that died of, unless it is busy then."""

    def watch() -> None:
        while os.getppid() == parent or is_busy():
            sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
