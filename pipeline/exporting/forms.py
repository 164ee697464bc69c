"""The forms in which a model is exported: each written, and compared with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.errors import BadInput
from pipeline.exporting import addaxai, animl, huggingface, published, release
from pipeline.exporting.checking import Measured, Pictures, check_same, file_asked, measured
from pipeline.exporting.described import described, tell
from pipeline.exporting.graph import converted, with_eyes
from pipeline.exporting.quantising import quantised
from pipeline.serving.bundle import Bundle

# Those that are folders, and a file that each of them has.
FOLDERS = {"release": release.SUMS, "huggingface": "config.json", "addaxai": "inference.py"}
# Other programs decode and resize by themselves, a little otherwise than training does.
_BY_OTHERS = 0.02


@dataclass(frozen=True)
class Job:
    """What is exported: the `bundle` that was read from the folder `served`, and how the `original` answers `pictures`.

    `taught`: training pictures, of which 8-bit values are learned; None for whole digits. `facts` go into the metadata,
    `texts` by file into a folder for others; `name` is what the model is called there.
    """

    bundle: Bundle
    served: Path
    original: Measured
    pictures: Pictures
    opset: int
    taught: Pictures | None
    facts: Mapping[str, Any]
    texts: Mapping[str, str]
    name: str

    def asked(self, name: str, model: bytes) -> Measured:
        """How an exported file answers."""
        return measured(name, len(model), file_asked(model, self.bundle), self.pictures)


def _onnx(job: Job, made: Path) -> list[Measured]:
    model = with_eyes(converted(job.bundle, job.opset), job.bundle)
    metadata = described(job.served, job.facts)
    tell(model, metadata)
    exported = model.SerializeToString()
    found = [job.asked("ONNX", exported)]
    check_same(job.original, found[0])
    if job.taught is not None:
        small = quantised(model, job.taught, job.bundle, made.parent)
        tell(small, metadata)
        exported = small.SerializeToString()
        found.append(job.asked("ONNX int8", exported))
    made.write_bytes(exported)
    return found


def _release(job: Job, made: Path) -> list[Measured]:
    file = made.with_suffix(".onnx")
    found = _onnx(job, file)
    release.write_folder(made, file.read_bytes(), job.served, job.bundle, job.texts)
    return found


def _animl(job: Job, made: Path) -> list[Measured]:
    how = animl.seen_by(job.bundle)
    model = animl.for_animl(converted(job.bundle, job.opset), job.bundle).SerializeToString()
    found = measured("animl", len(model), animl.asked(model, how.image_size), job.pictures)
    check_same(job.original, found, _BY_OTHERS)
    made.write_bytes(model)
    return [found]


def _huggingface(job: Job, made: Path) -> list[Measured]:
    network, part = published.own_network(job.bundle)
    huggingface.write_folder(made, network, part, job.bundle)
    found = measured("timm", _size(made), huggingface.asked(made, part.preprocessing), job.pictures)
    check_same(job.original, found)
    return [found]


def _addaxai(job: Job, made: Path) -> list[Measured]:
    network, part = published.own_network(job.bundle)
    addaxai.write_folder(made, network, part, job.bundle, job.name)
    found = measured("AddaxAI", _size(made), addaxai.asked(made), job.pictures)
    check_same(job.original, found)
    return [found]


def _size(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


FORMS: dict[str, Callable[[Job, Path], list[Measured]]] = {
    "onnx": _onnx, "release": _release, "huggingface": _huggingface, "animl": _animl, "addaxai": _addaxai,
}  # fmt: skip


def check_form(form: str, precision: str, licence: str | None) -> None:
    """Raise BadInput for what a form cannot be, or lacks."""
    if form == "release" and not licence:
        raise BadInput("form=release: say under which licence you give the model away: licence='CC BY 4.0'")
    if precision == "int8" and form not in ("onnx", "release"):
        raise BadInput(f"precision=int8: form={form} is of whole digits; take form=onnx or form=release")
