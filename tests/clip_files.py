"""Networks of pictures and texts, of random weights, as a repository of open_clip's has them."""

import json

import open_clip
import torch
from safetensors.torch import save_file

TEXTS = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
TIMM = {"image_size": 160, "timm_model_name": "test_vit"}


def published(folder, vision, **more):
    """Files as a repository of open_clip's has them; the width of the embedding is that of test_vit's features."""
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": dict(TEXTS), **more}
    preparation = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic"}
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preparation}))
    torch.manual_seed(1)
    plain = {key: value for key, value in config.items() if key != "custom_text"}
    made = (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)(**plain)
    for tensor in made.parameters():  # biases and what else begins at 0 would hide what is left out
        tensor.data += 0.02 * torch.randn_like(tensor)
    save_file(
        {name: tensor.contiguous() for name, tensor in made.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder / "open_clip_model.safetensors"
