import pickle
import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import BadInput
from pipeline.models.backbone import build_backbone
from pipeline.models.weights import load_file, load_pretrained, load_state, normalisation


@pytest.fixture
def backbone():
    return build_backbone("torchvision/resnet18")


@pytest.fixture(scope="module")
def published():
    from torchvision.models import resnet18

    torch.manual_seed(1)
    return resnet18().state_dict()


def same(backbone, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in backbone.state_dict().items())


def test_published_weights_load_and_the_classifier_is_told_as_left_out(backbone, published, tmp_path):
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in published.items()}}, tmp_path / "w.pth")
    loaded = load_file(backbone, tmp_path / "w.pth")
    assert same(backbone, published)
    assert loaded.dropped == ("fc.weight", "fc.bias")
    assert "left out fc.weight, fc.bias" in str(loaded)


def test_safetensors_load_too(backbone, published, tmp_path):
    save_file(published, tmp_path / "w.safetensors")
    load_file(backbone, tmp_path / "w.safetensors")
    assert same(backbone, published)


def test_another_networks_weights_are_refused_whole(published, tmp_path):
    other = build_backbone("torchvision/resnet50")
    before = other.state_dict()["conv1.weight"].clone()
    with pytest.raises(
        BadInput,
        match=r"do not fit the network: layer1\.0\.conv1\.weight \(64, 64, 1, 1\) is \(64, 64, 3, 3\)",
    ):
        load_state(other, published, "there")
    assert torch.equal(other.state_dict()["conv1.weight"], before)


def test_a_truncated_or_hostile_file_is_refused_and_nothing_in_it_runs(backbone, published, tmp_path):
    whole, cut, hostile = tmp_path / "w.pth", tmp_path / "cut.pth", tmp_path / "hostile.pth"
    torch.save(published, whole)
    cut.write_bytes(whole.read_bytes()[:100_000])
    hostile.write_bytes(pickle.dumps(_Runs(tmp_path / "ran")))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    for file in (cut, hostile, tmp_path / "cut.safetensors", tmp_path / "missing.pth"):
        with pytest.raises(BadInput, match=r"model\.weights_file="):
            load_file(backbone, file)
    assert not (tmp_path / "ran").exists()


class _Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        from pathlib import Path

        return Path.touch, (self.path,)


def test_without_network_the_file_and_its_place_are_named(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(BadInput, match=rf"{tmp_path}/checkpoints/resnet18-f37072fd\.pth.*put the file there"):
        load_pretrained(backbone, "torchvision/resnet18", "DEFAULT")


def test_unknown_weights_are_named_with_the_nearest(backbone):
    with pytest.raises(BadInput, match="did you mean IMAGENET1K_V1"):
        load_pretrained(backbone, "torchvision/resnet18", "IMAGENET1K_V3")


def test_preprocessing_follows_the_weights():
    assert normalisation("torchvision/efficientnet_b0", "DEFAULT").interpolation == "bicubic"
    assert normalisation("torchvision/efficientnet_v2_s", "DEFAULT").interpolation == "bilinear"
    assert normalisation("timm/legacy_xception", "DEFAULT").mean == (0.5, 0.5, 0.5)
