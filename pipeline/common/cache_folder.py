"""What this program keeps because it can make it again: where, and how much of it."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.common.atomic import clear_abandoned, delete_unless_held
from pipeline.common.paths import expanded


def cache_folder() -> Path:
    """`$PIPELINE_CACHE`, else `~/.cache/species-pipeline`; perhaps not there yet."""
    return expanded(os.environ.get("PIPELINE_CACHE") or "~/.cache/species-pipeline", "PIPELINE_CACHE")


@dataclass(frozen=True)
class BoundedFolder:
    """Files of at most `most_gb` (10^9 bytes) together, in a folder and those below it, whose names end in `ending`.

    No other file is touched, as the folder may be anybody's, and none that any process holds (`open_held`). Names (of
    files, or of folders) say which version made them: what earlier ones made is never used again, and so goes first.
    """

    folder: Path
    most_gb: float
    ending: str

    def ready(self, below: str = "") -> Path:
        """The folder, or one below it, made where it is not there; what killed processes left in it is deleted."""
        place = self.folder / below
        place.mkdir(parents=True, exist_ok=True)
        clear_abandoned(self.folder, "**/.making-*")
        return place

    def make_room(self, wanted: float, besides: Path | None = None) -> float:
        """Delete the files that were unused for longest until `wanted` bytes more are within the bound.

        Gives how many bytes are then free, at least 0. `besides` is left alone: it is what is about to take them.
        """
        found: list[tuple[float, int, Path]] = []
        for file in self.folder.rglob(f"[!.]*{self.ending}"):
            with suppress(FileNotFoundError):  # deleted by another process just now
                found.append((file.stat().st_mtime, file.stat().st_size, file))
        free = min(self.most_gb * 1e9, 2**62) - sum(size for _, size, file in found if file != besides)
        for _, size, file in sorted(found):
            if free < wanted and file != besides and delete_unless_held(file):
                free += size
        return max(free, 0.0)
