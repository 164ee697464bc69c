"""Where this program keeps what it can make again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$PIPELINE_CACHE`, else `~/.cache/species-pipeline`; perhaps not there yet."""
    return Path(os.environ.get("PIPELINE_CACHE") or "~/.cache/species-pipeline").expanduser()
