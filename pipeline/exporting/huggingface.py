"""The folder that `timm.create_model("local-dir:...")` loads, and that the Hugging Face hub shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from pipeline.common.errors import BadInput
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.exporting.checking import Asked, Picture
from pipeline.models.sight import Part
from pipeline.serving.bundle import Bundle

_CROPS = {"squash": "squash", "crop": "center", "pad": "border"}  # as timm calls them


def write_folder(folder: Path, network: nn.Module, part: Part, bundle: Bundle) -> None:
    """`model.safetensors` and `config.json`, with the classes' names. BadInput for a network that is not timm's."""
    if not part.name.startswith("timm/"):
        raise BadInput(f"form=huggingface: timm loads networks of its own, not {part.name}; take form=release")
    how = part.preprocessing
    seen = {
        "input_size": (3, how.image_size, how.image_size), "interpolation": how.interpolation, "crop_pct": 1.0,
        "crop_mode": _CROPS[how.fit], "mean": how.mean, "std": how.std,
    }  # fmt: skip
    save_for_hf(
        network, str(folder), model_config={"label_names": list(bundle.classes)}, safe_serialization=True,
        data_config=seen, model_args=dict(part.options) or None,
    )  # fmt: skip


def asked(folder: Path, how: Preprocessing) -> Asked:
    """How timm asks such a folder: pictures read as in training, normalised before it."""
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (how.mean, how.std))

    @torch.inference_mode()
    def ask(picture: Picture) -> np.ndarray:
        pixels = how.read(picture)[None].float() / 255
        return network((pixels - mean) / std).double().softmax(1).numpy()[0]

    return ask
