"""An exported file, ready to answer: its own graph in ONNX Runtime, the rest from its metadata. It needs no PyTorch."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime

from pipeline.common.errors import BadInput
from pipeline.serving.described import Described, facts
from pipeline.serving.seen import Seen, seen_of

PICTURES, LOGITS, PROBABILITIES, FEATURES = "pictures", "logits", "probabilities", "features"
KNOWN_ARRAYS = "known_arrays"  # base64 of the file of arrays beside a served model's description


@dataclass(frozen=True, kw_only=True)
class OnnxFile(Described):
    """`side`: how many pixels the shorter side of a picture needs, so that nothing is lost."""

    session: onnxruntime.InferenceSession
    side: int

    @classmethod
    def read(cls, path: Path, key: str = "model") -> Self:
        """BadInput for a file that `export` did not write, or that is damaged."""
        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            told: dict[str, Any] = {
                name: text if name == KNOWN_ARRAYS else json.loads(text)
                for name, text in session.get_modelmeta().custom_metadata_map.items()
            }
            _check_classes(session, told["classes"])
            parts = [part for one in told["members"] for part in one["network"].get("joined", [one["network"]])]
            return cls(
                session=session,
                side=max(part["preprocessing"]["image_size"] for part in parts),
                **facts(told, base64.b64decode(told.get(KNOWN_ARRAYS, ""))),
            )
        except BadInput:
            raise
        except Exception as error:  # ONNX Runtime raises kinds of its own
            said = str(error).partition("\n")[0]
            raise BadInput(f"{key}={path}: no file that python -m pipeline.export wrote, or damaged ({said})") from None

    def seen(self, pixels: np.ndarray) -> Seen:
        """What it says of pictures (n, h, w, 3) uint8 of one size."""
        outputs = [one.name for one in self.session.get_outputs() if one.name in (LOGITS, FEATURES)]
        found = dict(zip(outputs, self.session.run(outputs, {PICTURES: pixels}), strict=True))
        return seen_of(self, found[LOGITS], found.get(FEATURES))


def _check_classes(session: onnxruntime.InferenceSession, classes: list[str]) -> None:
    (size,) = [one.shape[1] for one in session.get_outputs() if one.name == LOGITS]
    if size != len(classes):
        raise ValueError(f"it answers with {size} classes and names {len(classes)}")
