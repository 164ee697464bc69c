"""The folder that AddaxAI (https://github.com/PetervanLunteren/AddaxAI) takes for a classifier of one's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pipeline.data.reading.decoding import decode
from pipeline.exporting import addaxai_inference
from pipeline.exporting.checking import Asked, Picture
from pipeline.models.sight import Part
from pipeline.serving.bundle import Bundle

WEIGHTS = "model.safetensors"
_RANKS = ("class", "order", "family", "genus", "species")


def write_folder(folder: Path, network: nn.Module, part: Part, bundle: Bundle, name: str) -> None:
    """Weights, what they are of, the code that AddaxAI runs, its manifest and its table of taxa."""
    folder.mkdir(exist_ok=True)
    save_file(network.state_dict(), folder / WEIGHTS)
    library, _, of = part.name.partition("/")
    facts = {
        "library": library, "network": of, "options": dict(part.options), "classes": list(bundle.classes),
        "preprocessing": part.preprocessing.to_dict(),
    }  # fmt: skip
    manifest = {
        "model_id": name, "friendly_name": name, "env": "pytorch", "model_fname": WEIGHTS,
        "description": f"{of}, {len(bundle.classes):,} classes, trained on whole pictures", "developer": "yourself",
        "info_url": "", "min_app_version": "0.1.0", "full_image_cls": True,
    }  # fmt: skip
    for file, content in (("model.json", facts), ("manifest.json", manifest)):
        (folder / file).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(addaxai_inference.__file__, folder / "inference.py")
    taxa_of(bundle).to_csv(folder / "taxonomy.csv", index=False)


def taxa_of(bundle: Bundle) -> pd.DataFrame:
    """A row a class with the ranks that AddaxAI's tree has, in small letters; of a species its second name alone."""
    known = pd.DataFrame(index=list(bundle.classes)) if bundle.taxonomy is None else bundle.taxonomy
    ranks = known.reindex(index=list(bundle.classes), columns=list(_RANKS)).astype(object).fillna("").astype(str)
    ranks = ranks.apply(lambda column: column.str.strip().str.lower())
    ranks["species"] = ranks["species"].str.replace(r"^\S+\s+", "", regex=True)
    return ranks.rename_axis("model_class").reset_index()


def asked(folder: Path) -> Asked:
    """How AddaxAI asks such a folder about whole pictures."""
    model = addaxai_inference.ModelInference(folder, folder / WEIGHTS)
    model.load_model()

    def ask(picture: Picture) -> np.ndarray:
        pixels = picture if isinstance(picture, np.ndarray) else decode(picture, model.how["image_size"])
        crop = model.get_crop(Image.fromarray(pixels), (0, 0, 1, 1))
        return np.array([share for _, share in model.get_classification(crop)], np.float64)

    return ask
