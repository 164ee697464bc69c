"""Whom a frozen network is asked through on a processor."""

import ctypes
import json
import logging
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.common.errors import BadInput
from pipeline.data.batch import Batch, Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models import onnx_session
from pipeline.models.onnx_session import OnnxSession
from pipeline.models.sight import Part, Sight
from pipeline.training import engine
from pipeline.training.engine import asked_through, check_engine, stand_ins
from pipeline.training.features import compute_features
from pipeline.training.hardware import make_fabric

SIDE = 32
PICTURES = torch.randint(0, 256, (11, 3, SIDE, SIDE), dtype=torch.uint8)
MANY = 10_000_000


@pytest.fixture(scope="module")
def fabric():
    return make_fabric("cpu", "fp32")


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path))
    engine._tell.cache_clear()
    caplog.set_level(logging.INFO)


def sight(name="torchvision/squeezenet1_0", seed=0, options=()):
    torch.manual_seed(seed)
    return Sight([Part(name, Preprocessing(SIDE), dict(options))], "pooled").eval()


@pytest.fixture(scope="module")
def network():
    return sight()


class Pictures:
    n_pictures = len(PICTURES)

    def __len__(self):
        return 2

    def set_epoch(self, epoch, start=0):
        pass

    def __iter__(self):
        for rows in torch.arange(len(PICTURES)).split(8):
            yield Batch(Inputs(PICTURES[rows]), torch.zeros(len(rows), dtype=torch.int64), rows)


def features(network, fabric, asked):
    rows = np.arange(len(PICTURES))
    return compute_features(network, Pictures(), rows=rows, fabric=fabric, engine=asked).astype(np.float64)


VIT = "timm/vit_tiny_patch16_224"


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_0", "torchvision/resnet18", VIT])
def test_features_are_pytorchs_in_the_digits_that_are_kept(name, fabric, caplog):
    network = sight(name, options={"img_size": SIDE, "depth": 2} if name == VIT else {})
    one, other = features(network, fabric, "torch"), features(network, fabric, "onnxruntime")
    assert f"ONNX Runtime answers for {name.partition('/')[2]}" in caplog.text
    # At most one step of float16 at the size of the largest, and most are the same.
    assert np.abs(one - other).max() <= np.abs(one).max() * 2**-10
    assert (one == other).mean() > 0.95
    assert one.std(0).max() > 0  # pictures are told apart


def test_what_follows_alone_is_asked_of_pytorch_again(network, fabric):
    sessions = stand_ins("onnxruntime", [network], 1, 8, fabric)
    with asked_through(sessions):
        assert not network.features(Inputs(PICTURES)).requires_grad
    assert network.features(Inputs(PICTURES)).requires_grad


def test_a_network_is_tried_once_and_what_is_remembered_decides(network, fabric, tmp_path, monkeypatch, caplog):
    chance = torch.get_rng_state()
    assert not stand_ins("auto", [network], 200, 8, fabric)  # too few for a trial to pay
    assert not (tmp_path / "engines").exists()
    stand_ins("auto", [network], MANY, 8, fabric)
    assert torch.equal(torch.get_rng_state(), chance)
    (file,) = (tmp_path / "engines").glob("*.json")
    file.write_text('{"torch": 1')  # damaged: it is tried again
    stand_ins("auto", [network], MANY, 8, fabric)
    found = json.loads(file.read_text())
    assert min(found["torch"], found["onnxruntime"], found["converting"]) > 0
    monkeypatch.setattr(engine, "_tried", None)  # from here on nothing is tried
    file.write_text(json.dumps(found | {"torch": 0.02, "onnxruntime": 0.01, "converting": 1}))
    other_weights = sight(seed=1)
    assert not stand_ins("auto", [other_weights], 99, 8, fabric)  # a second's gain at most
    (session,) = stand_ins("auto", [other_weights], 101, 8, fabric).values()
    torch.testing.assert_close(
        session(PICTURES), other_weights.features(Inputs(PICTURES)).detach(), rtol=1e-3, atol=1e-4
    )
    assert "ONNX Runtime answers for squeezenet1_0: it is 2 times as fast as PyTorch here" in caplog.text
    file.write_text(json.dumps(found | {"torch": 0.011, "onnxruntime": 0.01, "converting": 1}))
    for _ in range(2):
        assert not stand_ins("auto", [network], MANY, 8, fabric)
    assert caplog.text.count("PyTorch answers for squeezenet1_0: ONNX Runtime is 1.1 times as fast here") == 1


class Fourier(nn.Module):
    def forward(self, pictures):
        return torch.fft.fft2(pictures).abs().flatten(1)


class OfItsBatch(nn.Module):
    def forward(self, pictures):
        return pictures.flatten(1) * pictures.shape[0] if len(pictures) > 2 else pictures.flatten(1)


@pytest.mark.parametrize("asked", ["auto", "onnxruntime"])
@pytest.mark.parametrize(
    ("backbone", "why"), [(Fourier, "cannot be converted to ONNX"), (OfItsBatch, "something else")]
)
def test_what_onnx_cannot_say_stays_with_pytorch(asked, backbone, why, fabric, caplog, capfd):
    network = sight()
    network.backbone = backbone()
    for _ in range(2):
        assert not stand_ins(asked, [network], MANY, 8, fabric)
    assert caplog.text.count("PyTorch answers for squeezenet1_0") == caplog.text.count(why) == 1
    ctypes.CDLL(None).fflush(None)
    assert "graph" not in capfd.readouterr().out  # the exporter's own log


def test_other_arithmetic_is_pytorchs(network, caplog):
    half = make_fabric("cpu", "bf16")
    assert not stand_ins("auto", [network], MANY, 8, half)
    assert not caplog.text
    assert not stand_ins("onnxruntime", [network], MANY, 8, half)
    assert "engine=onnxruntime is for fp32 on cpu, not bf16 on cpu" in caplog.text


def test_without_the_extra_auto_takes_pytorch_and_onnxruntime_stops(network, fabric, monkeypatch):
    check_engine("onnxruntime")
    monkeypatch.setattr(onnx_session, "find_spec", lambda name: None if name == "onnxruntime" else name)
    check_engine("auto")
    assert not stand_ins("auto", [network], MANY, 8, fabric)
    with pytest.raises(BadInput, match=r"trainer.engine=onnxruntime needs onnxruntime: pip install -e '.\[onnx\]'"):
        check_engine("onnxruntime")


@pytest.mark.parametrize("asked", ["auto", "onnxruntime"])
def test_one_that_does_not_load_leaves_pytorch(asked, network, fabric, tmp_path, monkeypatch, caplog):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libonnx.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert not stand_ins(asked, [network], MANY, 8, fabric)
    assert "ONNX Runtime does not load: libonnx.so" in caplog.text


def test_networks_that_share_a_backbone_share_a_session(fabric):
    one, other, apart = sight(), sight(), sight()
    other.backbone = one.backbone
    found = stand_ins("onnxruntime", [one, other, apart], 1, 8, fabric)
    assert found[one] is found[other] is not found[apart]
    assert isinstance(found[one], OnnxSession)
