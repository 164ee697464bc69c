"""What this program keeps because it can make it again: where, and how much of it."""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.common.atomic import clear_abandoned
from pipeline.common.paths import expanded


def cache_folder() -> Path:
    """`$PIPELINE_CACHE`, else `~/.cache/species-pipeline`; perhaps not there yet."""
    return expanded(os.environ.get("PIPELINE_CACHE") or "~/.cache/species-pipeline", "PIPELINE_CACHE")


@dataclass(frozen=True)
class BoundedFolder:
    """Files of at most `most_gb` (10^9 bytes) together, in a folder and those below it, whose names end in `ending`.

    No other file is touched, as the folder may be anybody's. Names (of files, or of folders) say which version made
    them: what earlier ones made is never used again, and so goes first.
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

    def make_room(self, in_use: Collection[Path] = ()) -> None:
        """Delete the files that were unused for longest, but none in use, until the others are within the bound."""
        found: list[tuple[float, int, Path]] = []
        for file in self.folder.rglob(f"[!.]*{self.ending}"):
            with suppress(FileNotFoundError):  # deleted by another process just now
                found.append((file.stat().st_mtime, file.stat().st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self.most_gb * 1e9:
                return
            if file not in in_use:
                file.unlink(missing_ok=True)  # who has it open keeps it until it is done
                total -= size
