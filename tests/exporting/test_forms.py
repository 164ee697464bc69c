"""A vote of two small networks in every form, asked as the programs that the forms are for ask."""

import csv
import hashlib
import importlib.util
import json
import logging
import sys

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from pipeline.commands import export
from pipeline.common.errors import BadInput
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.ensembles.rules import HardVote
from pipeline.exporting import addaxai, animl, huggingface, published, release
from pipeline.exporting.checking import check_same, file_asked, measured, network_asked
from pipeline.exporting.graph import check_convertible, check_opset, converted, with_eyes
from pipeline.exporting.quantising import quantised
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.serving.bundle import Bundle
from pipeline.serving.calibration import Calibration

CLASSES = ("cat", "dog", "owl")
TAXONOMY = pd.DataFrame(
    {
        "class": ["Mammalia", "Mammalia", "Aves"],
        "genus": ["Felis", "Canis", None],
        "species": ["Felis catus", "Canis lupus", None],
    },
    index=list(CLASSES),
)  # fmt: skip


def network(seed, **how):
    torch.manual_seed(seed)
    made = Classifier(NetworkSpec("timm/test_resnet", 3, Preprocessing(48, **how)))
    nn.init.normal_(made.head[-1].weight)
    return made.eval()


def bundle_of(*members, rule=None):
    return Bundle(
        members=members, rule=rule, classes=CLASSES, taxonomy=TAXONOMY, calibration=Calibration(temperature=1.7)
    )


@pytest.fixture(scope="module")
def vote():
    return bundle_of(network(0), network(1), rule=HardVote())


@pytest.fixture(scope="module")
def graph(vote):
    return converted(vote)


@pytest.fixture(scope="module")
def pictures():
    chance = np.random.default_rng(0)
    return [chance.integers(0, 256, (50 + 9 * one, 90 - 4 * one, 3), dtype=np.uint8) for one in range(6)]


def said(ask, pictures):
    return measured("it", 0, ask, pictures)


def test_a_vote_in_one_file(vote, graph, pictures):
    model = with_eyes(graph, vote).SerializeToString()
    check_same(said(network_asked(vote), pictures), said(file_asked(model, vote), pictures), 1e-5)


def test_eight_bits_are_less_than_half_the_size_and_nearly_the_same(vote, graph, pictures, tmp_path):
    whole = with_eyes(graph, vote)
    small = quantised(whole, pictures, vote, tmp_path).SerializeToString()
    assert len(small) < whole.ByteSize() / 2
    check_same(said(network_asked(vote), pictures), said(file_asked(small, vote), pictures), 0.2)


def test_animl_takes_the_softmax_of_calibrated_logits(vote, graph, pictures, tmp_path):
    model = animl.for_animl(graph, vote).SerializeToString()
    (tmp_path / "birds.onnx").write_bytes(model)
    assert export.holds_model(tmp_path / "birds.onnx")  # so that it may be written anew
    check_same(said(network_asked(vote), pictures), said(animl.asked(model, 48), pictures), 0.01)  # resized by Pillow
    with pytest.raises(BadInput, match=r"data\.fit=squash"):
        animl.seen_by(bundle_of(network(0, fit="pad")))


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_timm_loads_the_folder_to_the_same_answers(fit, pictures, tmp_path):
    alone = bundle_of(network(0, fit=fit))
    own, part = published.own_network(alone)
    huggingface.write_folder(tmp_path, own, part, alone)
    found = said(huggingface.asked(tmp_path, part.preprocessing), pictures)
    check_same(said(network_asked(alone), pictures), found, 1e-5)
    told = timm.data.resolve_data_config({}, model=timm.create_model(f"local-dir:{tmp_path}", pretrained=True))
    assert told["input_size"] == (3, 48, 48)
    assert told["crop_mode"] == {"squash": "squash", "crop": "center", "pad": "border"}[fit]
    assert json.loads((tmp_path / "config.json").read_text())["label_names"] == list(CLASSES)


def test_addaxai_runs_the_folder_by_itself(pictures, tmp_path):
    alone = bundle_of(network(0, fit="pad"))
    own, part = published.own_network(alone)
    addaxai.write_folder(tmp_path / "EUR-ME-v1", own, part, alone, "EUR-ME-v1")
    # As its worker does: the file is loaded from the folder, and asked for what lies in a box.
    spec = importlib.util.spec_from_file_location("inference_of_a_folder", tmp_path / "EUR-ME-v1" / "inference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.ModelInference(tmp_path / "EUR-ME-v1", tmp_path / "EUR-ME-v1" / "model.safetensors")
    model.load_model()
    assert model.get_class_names() == {"1": "cat", "2": "dog", "3": "owl"}
    whole = model.get_crop(Image.fromarray(pictures[0]), (0.0, 0.0, 1.0, 1.0))
    (answered,) = model.classify_batch(np.stack([model.get_tensor(whole)]))
    wanted = network_asked(alone)(pictures[0])
    np.testing.assert_allclose([share for _, share in answered], wanted, atol=1e-5)
    assert model.get_crop(Image.fromarray(pictures[0]), (0.5, 0.5, 0.5, 0.25)).size == (45, 13)
    with (tmp_path / "EUR-ME-v1" / "taxonomy.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ranks = {"class": "mammalia", "order": "", "family": "", "genus": "felis", "species": "catus"}
    assert rows[0] == {"model_class": "cat", **ranks}


def test_a_release_says_what_is_in_it(vote, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "model.json").write_text("{}")
    release.write_folder(tmp_path / "made", b"onnx", tmp_path / "served", vote, {"LICENSE": "CC0\n"})
    sums = (tmp_path / "made" / "SHA256SUMS").read_text().splitlines()
    assert [line.partition("  ")[2] for line in sums] == [
        "LICENSE", "labels.txt", "model.onnx", "served/model.json", "taxonomy.csv",
    ]  # fmt: skip
    assert sums[2].startswith(hashlib.sha256(b"onnx").hexdigest())
    assert pd.read_csv(tmp_path / "made" / "taxonomy.csv")["label"].tolist() == list(CLASSES)


def test_a_folder_is_marked_whole_only_when_it_is(vote, tmp_path, monkeypatch):
    for folder, taxa in (("first", "taxonomy.csv"), ("second", "model.onnx")):
        (tmp_path / folder).mkdir()
        for name in ("model.onnx", taxa):
            (tmp_path / folder / name).write_text(folder)
        (tmp_path / folder / release.SUMS).write_text(release.checksums(tmp_path / folder))
    output = tmp_path / "given"
    export.put(tmp_path / "first", output, release.SUMS)
    (output / "examples.txt").touch()
    monkeypatch.setattr(export, "write_atomically", lambda *_, **__: 1 / 0)  # as a full disk, or a kill
    with pytest.raises(ZeroDivisionError):
        export.put(tmp_path / "second", output, release.SUMS)
    assert (output / release.SUMS).read_text() == ""
    monkeypatch.undo()
    export.put(tmp_path / "second", output, release.SUMS)
    # what only the first release had is gone, what somebody put there is not
    assert sorted(one.name for one in output.iterdir()) == [release.SUMS, "examples.txt", "model.onnx"]
    assert (output / release.SUMS).read_text() == release.checksums(tmp_path / "second")


def test_what_cannot_be_exported_is_told(vote, monkeypatch, caplog, capsys):
    with pytest.raises(BadInput, match=r"box_x.* beside its pictures"):
        check_convertible(bundle_of(network(0, crop="square")))
    with pytest.raises(BadInput, match="it is several networks; take form=release"):
        published.own_network(vote)
    with pytest.raises(BadInput, match="opset=11: from 18"):
        check_opset(11)

    # PyTorch tries several ways of converting, each for seconds, tells its developers of each, and gives up.
    def tried(*_, **__):
        logging.getLogger("torch.fx.some.part").warning("def forward(self, arg0_1)")
        print("nor so")
        print("nor so", file=sys.stderr)
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(torch.onnx, "export", tried)
    with pytest.raises(BadInput, match=r"timm/test_resnet cannot be converted to ONNX \(division by zero\)"):
        converted(vote)
    assert (caplog.messages, *capsys.readouterr()) == ([], "", "")
