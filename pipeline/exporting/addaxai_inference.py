"""A classifier of the species pipeline for AddaxAI, which runs this file in its environment `pytorch`.

It needs nothing beside this folder: model.safetensors has the weights, model.json says of which network, and how it
sees pictures.
"""

import json
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import models
from torchvision.transforms.v2 import InterpolationMode, functional


class ModelInference:
    """What AddaxAI asks of a model."""

    def __init__(self, model_dir: Path, model_path: Path) -> None:
        self.model_dir, self.model_path = Path(model_dir), Path(model_path)
        self.facts = json.loads((self.model_dir / "model.json").read_text(encoding="utf-8"))
        self.how = self.facts["preprocessing"]
        self.names: list[str] = self.facts["classes"]
        self.device = torch.device("cpu")
        self.network: torch.nn.Module | None = None

    def check_gpu(self) -> bool:
        """Whether there is one, NVIDIA's or Apple's."""
        return torch.cuda.is_available() or torch.backends.mps.is_available()

    def load_model(self) -> None:
        """Build the network and fill it."""
        options = {**self.facts["options"], "num_classes": len(self.names)}
        if self.facts["library"] == "timm":
            network = timm.create_model(self.facts["network"], **options)
        else:
            network = models.get_model(self.facts["network"], weights=None, **options)
        network.load_state_dict(load_file(self.model_path))
        if self.check_gpu():
            self.device = torch.device("cuda" if torch.cuda.is_available() else "mps")
        self.network = network.eval().to(self.device)

    def get_crop(self, image: Image.Image, bbox: tuple[float, float, float, float]) -> Image.Image:
        """What lies in a box of left, top, width and height, as shares of the picture."""
        left, top, width, height = bbox
        corners = (left, top, left + width, top + height)
        box = [round(share * side) for share, side in zip(corners, (*image.size, *image.size), strict=True)]
        return image.crop((box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1)))

    def get_tensor(self, crop: Image.Image) -> np.ndarray:
        """(3, s, s) float32 of a crop, resized and normalised as in training."""
        pixels = torch.from_numpy(np.array(crop.convert("RGB"))).permute(2, 0, 1)
        mean, std = (torch.tensor(self.how[name]).view(3, 1, 1) for name in ("mean", "std"))
        return ((self._fitted(pixels).float() / 255 - mean) / std).numpy()

    def classify_batch(self, batch: np.ndarray) -> list[list[list[object]]]:
        """[name, probability] of every class, for each of the stacked tensors (n, 3, s, s)."""
        assert self.network is not None
        with torch.inference_mode():
            likely = self.network(torch.from_numpy(batch).to(self.device)).float().softmax(1).cpu().tolist()
        return [[[name, share] for name, share in zip(self.names, row, strict=True)] for row in likely]

    def get_classification(self, crop: Image.Image) -> list[list[object]]:
        """The same of one crop."""
        return self.classify_batch(self.get_tensor(crop)[None])[0]

    def get_class_names(self) -> dict[str, str]:
        """The classes, counted from 1."""
        return {str(number): name for number, name in enumerate(self.names, start=1)}

    def _fitted(self, pixels: torch.Tensor) -> torch.Tensor:
        side, (height, width) = self.how["image_size"], pixels.shape[-2:]
        if self.how["fit"] == "crop":
            return self._resized(functional.center_crop(pixels, [min(height, width)] * 2), side, side)
        if self.how["fit"] == "squash" or height == width:
            return self._resized(pixels, side, side)
        inner = [max(1, round(length * side / max(height, width))) for length in (height, width)]
        ground = torch.tensor([round(255 * value) for value in self.how["mean"]], dtype=torch.uint8)
        square = ground.view(3, 1, 1).repeat(1, side, side)
        top, left = ((side - length) // 2 for length in inner)
        square[:, top : top + inner[0], left : left + inner[1]] = self._resized(pixels, *inner)
        return square

    def _resized(self, pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
        mode = InterpolationMode(self.how["interpolation"])
        return functional.resize(pixels, [height, width], interpolation=mode, antialias=True)
