"""What an exported file says of itself: the description of the served model, a JSON a key, in the file's metadata."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from pipeline.serving.bundle import description
from pipeline.serving.known import FILE as KNOWN
from pipeline.serving.onnx_file import KNOWN_ARRAYS


def described(folder: Path, further: Mapping[str, Any]) -> dict[str, str]:
    """The served model's own description, by its keys, and what is `further` known, each as JSON."""
    plain = description(folder) | dict(further)
    if plain.get("known") is not None:
        plain[KNOWN_ARRAYS] = base64.b64encode((folder / KNOWN).read_bytes()).decode()
    return {key: json.dumps(value) for key, value in plain.items()}


def tell(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Write it into a model, in place; by its producer a file is known for one of this program's."""
    model.producer_name = "species-pipeline"
    onnx.helper.set_model_props(model, dict(metadata))
