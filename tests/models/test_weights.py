import pickle
import urllib.error
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights

from pipeline.common.errors import BadInput
from pipeline.models.backbone import build_backbone
from pipeline.models.published import as_trained, load_pretrained
from pipeline.models.weights import load_file, load_state


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


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
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


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The file of resnet18's weights in an empty cache folder, on a machine without network."""

    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / "resnet18-f37072fd.pth"


def test_without_network_the_key_that_names_a_file_is_told(backbone, cached):
    with pytest.raises(BadInput, match=rf"{cached} and could not be fetched.*model\.weights_file=PATH"):
        load_pretrained(backbone, "torchvision/resnet18", "DEFAULT")


def test_a_cached_file_that_is_not_the_published_one_is_refused_and_nothing_in_it_runs(
    backbone, published, cached, tmp_path
):
    torch.save(published, cached)
    with pytest.raises(BadInput, match=r"is not the published file .* not f37072fd\).*model\.weights_file=PATH"):
        load_pretrained(backbone, "torchvision/resnet18", "DEFAULT")
    torch.save({"fc.weight": _Runs(tmp_path / "ran")}, cached)
    with pytest.raises(BadInput, match="is not the published file"):
        load_pretrained(backbone, "torchvision/resnet18", "DEFAULT")
    assert not (tmp_path / "ran").exists()


def as_published(file, monkeypatch):
    """Make what stands in the cache the published weights of resnet18."""
    name = f"resnet18-{sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    file = file.rename(file.with_name(name))
    weights = ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights, "_value_", replace(weights.value, url=f"https://nowhere/{name}"))
    return file


def test_the_published_file_is_read_from_the_cache(backbone, published, cached, monkeypatch):
    torch.save(published, cached)
    as_published(cached, monkeypatch)
    loaded = load_pretrained(backbone, "torchvision/resnet18", "DEFAULT")
    assert same(backbone, published)
    assert loaded.dropped == ("fc.weight", "fc.bias")


def test_a_file_whose_hash_begins_as_the_published_one_runs_nothing_either(backbone, cached, tmp_path, monkeypatch):
    torch.save({"fc.weight": _Runs(tmp_path / "ran")}, cached)
    file = as_published(cached, monkeypatch)
    with pytest.raises(BadInput, match=f"^{file}: not a state dict of tensors"):
        load_pretrained(backbone, "torchvision/resnet18", "DEFAULT")
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """`hub("OWNER/NAME", {file: put})` has the hub's cache hold files, which `put` is called to make."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.getaddrinfo", _no_network)

    def holds(repository, files):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "snapshots" / "abc").mkdir(parents=True)
        for name, put in files.items():
            put(folder / "snapshots" / "abc" / name)

    return holds


def _no_network(*_args):
    raise OSError("no network")


def test_nothing_in_a_pickle_of_the_hubs_cache_runs(hub, tmp_path):
    hostile = {"fc.weight": _Runs(tmp_path / "ran")}
    hub("timm/resnet18.a1_in1k", {"pytorch_model.bin": lambda file: torch.save(hostile, file)})
    with pytest.raises(BadInput, match=r"pytorch_model\.bin: not a state dict of tensors"):
        load_pretrained(build_backbone("timm/resnet18"), "timm/resnet18", "DEFAULT")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(backbone, published, suffix, value, tmp_path):
    file = tmp_path / f"w.{suffix}"
    state = published | {"layer1.0.conv1.weight": torch.full_like(published["layer1.0.conv1.weight"], value)}
    save_file(state, file) if suffix == "safetensors" else torch.save(state, file)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(BadInput, match=rf"weights_file={file} hold NaN .*in 'layer1\.0\.conv1\.weight'"):
        load_file(backbone, file)
    assert same(backbone, before)


def test_tensors_by_number_are_no_state_dict(backbone, published, tmp_path):
    torch.save(dict(enumerate(published.values())), tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"w\.pth: its tensors are called 0, 1, 2 and \d+ more, not by the names"):
        load_file(backbone, tmp_path / "w.pth")


def test_unknown_weights_are_named_with_the_nearest(backbone):
    with pytest.raises(BadInput, match="did you mean IMAGENET1K_V1"):
        load_pretrained(backbone, "torchvision/resnet18", "IMAGENET1K_V3")


def test_preprocessing_follows_the_weights():
    assert as_trained("torchvision/efficientnet_b0", "DEFAULT").interpolation == "bicubic"
    assert as_trained("torchvision/efficientnet_v2_s", "DEFAULT").interpolation == "bilinear"
    assert as_trained("timm/legacy_xception", "DEFAULT").mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 20, 60, 200])
def test_an_old_pickle_cut_anywhere_is_refused(size, backbone, published, tmp_path):
    torch.save(published, tmp_path / "whole.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:size])
    with pytest.raises(BadInput, match="not a state dict of tensors, or cut short"):
        load_file(backbone, tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda tensor: tensor.to_sparse(), "sparse"),
        (lambda tensor: tensor.to("meta"), "without contents"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "quantised"),
        (lambda tensor: tensor > 0, "of bool"),
        (lambda tensor: tensor.to(torch.int8), "of int8"),
        (lambda tensor: tensor.to(torch.complex64), "of complex64"),
    ],
    ids=["sparse", "meta", "quantised", "bool", "int8", "complex"],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_are_no_plain_numbers_are_refused(made, says, backbone, published):
    before = backbone.state_dict()["bn1.weight"].clone()
    with pytest.raises(BadInput, match=f"conv1.weight is {says}"):
        load_state(backbone, published | {"conv1.weight": made(published["conv1.weight"])}, "there")
    assert torch.equal(backbone.state_dict()["bn1.weight"], before)


def test_halves_are_taken(backbone, published):
    load_state(backbone, {n: t.half() if t.is_floating_point() else t for n, t in published.items()}, "there")
    assert torch.equal(backbone.state_dict()["conv1.weight"], published["conv1.weight"].half().float())
