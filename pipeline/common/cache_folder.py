"""Where this program keeps what it can make again."""

import os
from pathlib import Path

from pipeline.common.paths import expanded


def cache_folder() -> Path:
    """`$PIPELINE_CACHE`, else `~/.cache/species-pipeline`; perhaps not there yet."""
    return expanded(os.environ.get("PIPELINE_CACHE") or "~/.cache/species-pipeline", "PIPELINE_CACHE")
