"""Files in the form in which they were published: of random tensors, and small where a network can be."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.common.errors import BadInput
from pipeline.models.backbone import build_backbone
from pipeline.models.shelf import shelf
from pipeline.models.sizes import sized
from pipeline.models.weights import load_file

SHALLOW = {"embed_dim": 24, "depth": 2, "num_heads": 2}
NARROW = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}


def as_timm_has_it(state):
    return state


def as_open_clip_has_it(state):
    """A vision transformer as CLIP's authors and open_clip call its layers, beside a tower for text."""
    words = (
        ("blocks.", "transformer.resblocks."), ("norm_pre.", "ln_pre."), (".norm1.", ".ln_1."), (".norm2.", ".ln_2."),
        ("attn.qkv.", "attn.in_proj_"), ("attn.proj.", "attn.out_proj."), ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."), ("patch_embed.proj.", "conv1."), ("pos_embed", "positional_embedding"),
        ("cls_token", "class_embedding"),
    )  # fmt: skip
    published = {"positional_embedding": torch.zeros(77, 8), "logit_scale": torch.zeros(())}
    for name, tensor in state.items():
        if name.startswith("head."):
            continue
        said = name.replace("norm.", "ln_post.") if name.startswith("norm.") else name
        for ours, theirs in words:
            said = said.replace(ours, theirs)
        plain = {"pos_embed": lambda tensor: tensor[0], "cls_token": lambda tensor: tensor[0, 0]}
        published[f"visual.{said}"] = plain.get(name, lambda tensor: tensor)(tensor)
    return published | {"visual.proj": torch.zeros(SHALLOW["embed_dim"], 8)}


# How each is made small, and what its file's tensors are called; those of its own size are small as they are.
PUBLISHED = {
    "bioclip2": (SHALLOW, as_open_clip_has_it),
    "convnextv2t": (NARROW, as_timm_has_it),
    "dinov2b": (SHALLOW, as_timm_has_it),
    "dinov2s": (SHALLOW, as_timm_has_it),
    "dinov3_convnext": (NARROW, as_timm_has_it),
    "dinov3s": (SHALLOW, as_timm_has_it),
    "efficientnet_lite0": ({}, as_timm_has_it),
    "efficientnet_lite2": ({}, as_timm_has_it),
    "eva02s": (SHALLOW, as_timm_has_it),
    "mobilenetv4s": ({}, as_timm_has_it),
    "siglip2b": (SHALLOW, as_timm_has_it),
    "swint": ({"depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 1, 2, 2)}, as_timm_has_it),
    "vits": (SHALLOW, as_timm_has_it),
}


def scattered(network):
    """The network with chance in all that it knows, what begins as zero or one too."""
    chance = torch.Generator().manual_seed(1)
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            wide = torch.rand(tensor.shape, generator=chance)
            state[name] = wide / 2 + 0.5 if name.endswith("running_var") else (wide - 0.5) / 5
    return state


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_every_one_of_timms_with_a_name_of_its_own_is_tried():
    assert {one.answer for one in shelf() if one.name.startswith("timm/")} == {*PUBLISHED, "xception"}


@pytest.mark.parametrize("answer", PUBLISHED)
def test_a_published_file_gives_timms_own_features_at_224(answer, pictures, tmp_path):
    small, published = PUBLISHED[answer]
    name = next(one.name for one in shelf() if one.answer == answer)
    bare = name.partition("/")[2]
    with_classes = scattered(timm.create_model(bare, num_classes=5, **small))
    file = tmp_path / "published.safetensors"
    save_file({name: tensor.clone() for name, tensor in published(with_classes).items()}, file)

    fits = sized(name, 224, options=small)
    theirs = timm.create_model(
        bare,
        pretrained=True,
        num_classes=0,
        pretrained_cfg_overlay={"file": str(file), "num_classes": 5},
        **fits.options,
    )
    ours = build_backbone(name, options=fits.options)
    loaded = load_file(ours, file, name)
    assert loaded.dropped
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(pictures), theirs.eval()(pictures), rtol=1e-5, atol=1e-5)
        assert ours(pictures).std() > 0


def test_the_map_of_features_takes_the_same_file(pictures, tmp_path):
    name, file = "timm/vit_small_patch14_dinov2", tmp_path / "published.pth"
    torch.save({"model": scattered(timm.create_model(name[5:], **SHALLOW))}, file)
    ours = build_backbone(name, "map", sized(name, 224, "map", SHALLOW).options)
    load_file(ours, file, name)
    assert ours.eval()(pictures).shape == (2, 257 * 24)


def test_torchvisions_positions_move_to_another_size(tmp_path):
    from torchvision.models import VisionTransformer
    from torchvision.models.vision_transformer import interpolate_embeddings

    small = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 24, "mlp_dim": 24}
    published = VisionTransformer(image_size=224, **small).state_dict()
    torch.save(published, tmp_path / "published.pth")
    ours = VisionTransformer(image_size=160, **small)
    ours.heads = torch.nn.Identity()
    load_file(ours, tmp_path / "published.pth", "torchvision/vit_b_16")
    wanted = interpolate_embeddings(160, 16, dict(published))["encoder.pos_embedding"]
    assert torch.equal(ours.state_dict()["encoder.pos_embedding"], wanted)


def test_weights_of_another_form_are_told_from_both_sides(tmp_path):
    name = "timm/vit_small_patch14_dinov2"
    save_file({"blocks.0.attn.q.weight": torch.zeros(4, 4), "head.w": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(
        BadInput,
        match=r"do not fit the network: cls_token \(1, 1, 24\) is missing; .* more\) there, where there is "
        r"blocks\.0\.attn\.q\.weight \(4, 4\); head\.w \(2,\) that the network has not; take weights of this very",
    ):
        load_file(build_backbone(name, options=SHALLOW), tmp_path / "other.safetensors", name)
