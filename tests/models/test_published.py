"""Networks and weights by the names of a hub's repositories and of folders, on a machine without network."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.common.errors import BadInput
from pipeline.models.backbone import build_backbone
from pipeline.models.published import as_trained, load_pretrained, named, weights_file

OPTIONS = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
CONFIG = {
    "architecture": "resnet10t",
    "num_classes": 5,
    "pretrained_cfg": {
        "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic", "input_size": [3, 160, 160],
    },
    "model_args": OPTIONS,
}  # fmt: skip


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=5, **OPTIONS).state_dict()


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """A cache of the hub's that is empty, and no network; gives the folder of a repository's files."""

    def none(*_args):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.getaddrinfo", none)
    named.cache_clear()

    def repository(name):
        folder = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "snapshots" / "abc").mkdir(parents=True)
        return folder / "snapshots" / "abc"

    return repository


def same(backbone, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in backbone.state_dict().items())


def test_a_repository_of_the_hubs_cache_is_a_network_with_weights_and_preparation(no_network, state):
    folder = no_network("museum/shells")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(state, folder / "model.safetensors")
    name = "timm/hf-hub:museum/shells"
    found = named(name)
    assert (found.name, found.options) == ("timm/resnet10t", OPTIONS)
    how = as_trained(name)
    assert (how.mean, how.std, how.interpolation, how.image_size) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic", 160)
    backbone = build_backbone(found.name, options=found.options)
    loaded = load_pretrained(backbone, name, "DEFAULT")
    assert same(backbone, state)
    assert "hf-hub:museum/shells" in str(loaded)


def test_a_folder_is_the_same_without_a_hub(no_network, state, tmp_path):
    folder = tmp_path / "my shells"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.save(state, folder / "shells.pth")
    name = f"timm/local-dir:{folder}"
    backbone = build_backbone(named(name).name, options=named(name).options)
    load_pretrained(backbone, name, "DEFAULT")
    assert same(backbone, state)
    assert as_trained(name).image_size == 160


def test_a_config_beside_a_file_says_how_pictures_were_shown(no_network, tmp_path):
    file = tmp_path / "w.safetensors"
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert as_trained("timm/resnet10t", file=file).mean == (0.1, 0.2, 0.3)
    assert as_trained("timm/resnet18", file=file).mean == (0.485, 0.456, 0.406)  # the config is another network's
    clip = {"model_cfg": {"vision_cfg": {"image_size": 336}}, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(clip))
    how = as_trained("timm/resnet18", file=file)
    assert (how.mean, how.image_size) == ((0.5, 0.5, 0.5), 336)


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("timm/hf-hub:museum/shells", "DEFAULT", r"config\.json of hf-hub:museum/shells .* could not be fetched from "
         r"\S+museum/shells\S+config\.json \(no network\): .* folder, and name that: model\.name=timm/local-dir:PATH"),
        ("timm/hf-hub:shells", "DEFAULT", "is named OWNER/NAME"),
        ("timm/local-dir:/nowhere", "DEFAULT", "there is no such folder"),
        ("timm/resnet18", "hf-hub:museum/shells", r"model\.safetensors of hf-hub:museum/shells .* could not be fetched "
         r"from \S+museum/shells\S+model\.safetensors .*name it: model\.weights_file=PATH"),
        ("timm/resnet18", "hf-hub:museum/shells/all.bin", r"all\.bin of hf-hub:museum/shells .* from \S+all\.bin "),
        ("timm/resnet18", "DEFAULT", r"model\.safetensors of hf-hub:timm/resnet18\S* is not here .*weights_file=PATH"),
        ("timm/resnet18", "a7_in1k", "timm has no such weights for resnet18; did you mean a"),
    ],
)  # fmt: skip
def test_what_can_not_be_had_is_told_with_what_to_fetch_from_where(name, weights, said, no_network):
    with pytest.raises(BadInput, match=said):
        weights_file(named(name), weights)


def test_a_repository_that_can_not_be_asked_leaves_what_the_library_knows(no_network):
    how = as_trained("timm/vit_large_patch14_clip_224.openai", "hf-hub:museum/shells")
    assert (how.image_size, round(how.mean[0], 3)) == (224, 0.481)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", r"config\.json: it is no JSON"),
        ('{"model_type": "vit"}', r"names no architecture, which is no network of timm's"),
        ('{"architecture": "resnet18", "model_args": {"in_chans": 4}}', "it takes pictures of 4 channels"),
        (None, r"there is no config\.json that says which network it is"),
    ],
)
def test_a_folder_that_names_no_network_is_told(config, said, tmp_path, no_network):
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadInput, match=said):
        named(f"timm/local-dir:{tmp_path}")
