"""The text side of open_clip's networks: what it makes of texts, and how features come to where these lie."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from pipeline.common.errors import BadInput
from pipeline.common.progress import each
from pipeline.models.heads.text import EXTRA, Text
from pipeline.models.published import read_json
from pipeline.models.sight import Sight
from pipeline.models.weights import brief, read_state

CONFIG = "open_clip_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_OF_TEXTS = ("transformer.", "text.", "text_model.", "token_embedding.", "positional_embedding")
_SIDES = {"embed_dim", "text_cfg", "vision_cfg"}
_AT_ONCE = 64  # texts


@torch.no_grad()
def tell(
    head: Text, sight: Sight, file: Path, beside: Callable[[str], Path], texts: Sequence[Sequence[str]],
    device: torch.device,
) -> None:  # fmt: skip
    """Give a head what open_clip's network in `file` makes of each class's texts.

    `beside` says where files of its repository are: `open_clip_config.json`, and a tokenizer's, where that names one.
    Raises BadInput where one is missing, the weights have no text side, or their picture side is not what `sight` has.
    """
    if not any(name.removeprefix("module.").startswith(_OF_TEXTS) for name in read_state(file)):
        raise BadInput(
            f"head=text: {file} has no text side: take weights of open_clip's form, such as model=bioclip2, or "
            "model=siglip2b model.weights=hf-hub:timm/ViT-B-16-SigLIP2"
        )
    config = _read_config(beside(CONFIG))
    both = _build(config, file).eval()
    projection, shift = _projection(both.visual)
    head.projection, head.shift = projection.detach().clone(), shift.detach().clone()
    _check_same(head, sight, both, config["vision_cfg"].get("image_size", 224))
    both, tokenizer = both.to(device), _tokenizer(config["text_cfg"], beside)
    every = list(chain.from_iterable(texts))
    whose = torch.tensor([number for number, said in enumerate(texts) for _ in said])
    starts = range(0, len(every), _AT_ONCE)
    found = torch.cat([
        both.encode_text(tokenizer(every[start : start + _AT_ONCE]).to(device), normalize=True).float().cpu()
        for start in each(starts, "texts")
    ])  # fmt: skip
    head.embeddings = normalize(found.new_zeros(len(texts), found.shape[1]).index_add(0, whose, found))
    head.temperature.copy_((-both.logit_scale).exp().mean())


def _read_config(file: Path) -> dict[str, Any]:
    plain = read_json(file) if file.is_file() else {}
    config = plain.get("model_cfg", plain)
    if not config.keys() >= _SIDES:
        raise BadInput(
            f"head=text: {file} has to say how open_clip builds both sides ({', '.join(sorted(_SIDES))}): put "
            "the one of the weights' repository there"
        )
    return config


def _build(config: dict[str, Any], file: Path) -> Any:
    """Both sides, with their weights; open_clip's own `create_model` would ask the hub, and say things."""
    import open_clip
    from open_clip.factory import load_checkpoint

    text = config["text_cfg"] | {"hf_model_pretrained": False}  # its weights are in the file
    options = {key: value for key, value in config.items() if key != "custom_text"} | {"text_cfg": text}
    custom = config.get("custom_text") or "hf_model_name" in text
    kind: Any = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        both = kind(**options)
        load_checkpoint(both, str(file))
    except ImportError as error:
        raise BadInput(EXTRA.format(error.name or brief(error))) from None
    except Exception as error:  # of many families: a config may say anything
        why = shorten(str(error), 160, placeholder=" ...")
        raise BadInput(f"head=text: open_clip cannot read {file} by its {CONFIG} ({why})") from None
    return both


def _projection(visual: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(embedding, features) and (embedding,): the last, linear step of the picture side."""
    if isinstance(own := getattr(visual, "proj", None), torch.Tensor):
        return own.T, own.new_zeros(own.shape[1])
    if hasattr(visual, "trunk"):
        last = getattr(visual.head, "proj", None) or visual.trunk.get_classifier()
        if isinstance(last, nn.Linear):
            return last.weight, last.weight.new_zeros(len(last.weight)) if last.bias is None else last.bias
    width = visual.trunk.num_features if hasattr(visual, "trunk") else visual.output_dim
    return torch.eye(width), torch.zeros(width)


def _check_same(head: Text, sight: Sight, both: Any, side: int) -> None:
    """BadInput where a picture of noise is not where open_clip has it: another pooling or activation, say."""
    part = sight.parts[0]
    if side != part.preprocessing.image_size:
        return
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    theirs, features = both.encode_image(noise), sight.backbone.cpu().eval()(noise)
    fits = features.shape[1] == head.projection.shape[1] and len(head.projection) == theirs.shape[1]
    if not fits or not torch.allclose(
        normalize(features @ head.projection.T + head.shift), normalize(theirs), atol=_SAME
    ):
        raise BadInput(
            f"head=text: {part.name} sees pictures otherwise than the network that these weights are of (another "
            "pooling or activation, say): choose timm's network of that very model with model.name="
        )


_SAME = 1e-3  # of vectors of length 1


def _tokenizer(config: dict[str, Any], beside: Callable[[str], Path]) -> Any:
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, SimpleTokenizer

    length = config.get("context_length", DEFAULT_CONTEXT_LENGTH)
    options = {"context_length": length, **config.get("tokenizer_kwargs", {})}
    if "hf_tokenizer_name" not in config:
        return SimpleTokenizer(**options)
    for file in map(beside, TOKENIZER):
        if not file.is_file():
            raise BadInput(f"head=text: {file} is missing: put the one of the weights' repository there")
    try:
        return HFTokenizer(str(beside(TOKENIZER[0]).parent), tokenizer_mode=config.get("tokenizer_mode"), **options)
    except ImportError as error:
        raise BadInput(EXTRA.format(error.name or brief(error))) from None
