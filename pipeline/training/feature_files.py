"""The files that features are kept in: one a key, written whole or not at all, within a bound, safe to delete."""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

# Part of every key: raise it when features would come out otherwise though nothing else in the key changed.
_VERSION = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureFiles:
    """A folder of `.npy` files of at most `most_gb` together (10^9 bytes; 0 keeps none); the least used go first."""

    folder: Path
    most_gb: float = 20.0

    def get_or_make(self, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a key, memory-mapped; made and kept where it is missing or damaged.

        Processes that need the same wait for the one that makes it. Where it cannot be kept (a full disk, say),
        a warning says so and the array is given from memory.
        """
        if not self.most_gb:
            return make()
        file = self.folder / f"{key}.npy"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            from filelock import FileLock

            with FileLock(self.folder / f".{key}.lock"):
                found = self._open(file)
                return self._keep(file, make()) if found is None else found
        except OSError as error:
            log.warning("warning: features are not kept in %s (%s)", self.folder, error.strerror or error)
            return make()

    def _open(self, file: Path) -> np.ndarray | None:
        if not file.exists():
            return None
        try:
            values = np.load(file, mmap_mode="r", allow_pickle=False)
            os.utime(file)  # used just now
        except (ValueError, EOFError) as error:
            log.info("features in %s are damaged (%s): made anew", file, error)
            return None
        return values

    def _keep(self, file: Path, values: np.ndarray) -> np.ndarray:
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".making-")
        fresh = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                np.save(stream, values, allow_pickle=False)
            fresh.replace(file)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            log.warning("warning: features are not kept in %s (%s)", self.folder, error.strerror or error)
            return values
        self._make_room(file)
        return values

    def _make_room(self, kept: Path) -> None:
        files = sorted(self.folder.glob("*.npy"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total <= self.most_gb * 1e9 or file == kept:
                return
            total -= file.stat().st_size
            file.unlink(missing_ok=True)  # who has it mapped keeps it until it is done


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Sixteen hex digits of the tensors' bytes, in the order of their names."""
    digest = blake2b(digest_size=8)
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def feature_key(*parts: object) -> str:
    """A file's name out of all that its features depend on: pictures, weights, preprocessing, arithmetic, code."""
    text = "\n".join(str(part) for part in (_VERSION, torch.__version__, *parts))
    return blake2b(text.encode(), digest_size=16).hexdigest()
