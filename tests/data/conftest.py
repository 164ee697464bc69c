"""Small sets of real picture files, made for each test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.sources import read_source
from pipeline.data.table import PictureTable

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test remembers is its own."""
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write one picture under the test's folder; its pixels depend on its path alone."""

    def _write(path: str, size: tuple[int, int] = (40, 30)) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(sum(path.encode())).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file)
        return file

    return _write


@pytest.fixture
def photos(write: Write, tmp_path: Path) -> PictureTable:
    """Eleven photographs of two classes."""
    for number in range(11):
        write(f"photos/{'cat' if number < 6 else 'dog'}/{number:02d}.jpg")
    return read_source("folder", root=str(tmp_path / "photos"))
