"""Memory on a processor: what a step of training frees, the next one takes again.

glibc asks the system for every block of more than 32 MB and gives it back when it is freed. Maps of a batch are such
blocks, so each step would have the system clear gigabytes of fresh pages, page by page: up to half of its time
(`bench/allocator.py`). GPUs have an allocator of their own, as have macOS and musl.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_... of malloc.h
_NEVER, _LARGE = -1, 2**30


def keep_freed_memory() -> None:
    """From now on this process keeps what it frees, up to its peak; blocks of a gigabyte and more still go back."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_MMAP_THRESHOLD, _LARGE)
