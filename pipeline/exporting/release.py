"""A folder that others can use without this program: the model in two forms, what its answers mean, and checksums."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.serving.bundle import Bundle

MODEL, SUMS = "model.onnx", "SHA256SUMS"


def write_folder(folder: Path, model: bytes, served: Path, bundle: Bundle, texts: Mapping[str, str]) -> None:
    """The exported file, the served model itself (safetensors and a JSON), names, taxa, `texts` by file, checksums."""
    folder.mkdir(exist_ok=True)
    (folder / MODEL).write_bytes(model)
    shutil.copytree(served, folder / "served")
    texts = {"labels.txt": "".join(f"{' '.join(name.splitlines())}\n" for name in bundle.classes), **texts}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    if bundle.taxonomy is not None:
        bundle.taxonomy.rename_axis("label").to_csv(folder / "taxonomy.csv")
    (folder / SUMS).write_text(checksums(folder), encoding="utf-8")


def checksums(folder: Path) -> str:
    """The SHA-256 of every file below, as `sha256sum -c` reads it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != SUMS)
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files)


def listed(folder: Path) -> list[str]:
    """The files of an earlier release, by their names below its folder; none where there is no such."""
    sums = folder / SUMS
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines() if sums.is_file() else []
    names = [line.partition("  ")[2] for line in lines]
    return [name for name in names if name and ".." not in Path(name).parts and not Path(name).is_absolute()]
