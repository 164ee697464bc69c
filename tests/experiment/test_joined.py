"""Several frozen backbones before one head: trained, asked again and served as one network."""

import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torchvision.models import get_model

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.config.keys import CONF
from pipeline.data.reading import decoding
from pipeline.experiment.question import NETWORK, Question
from pipeline.models.classifier import NetworkSpec
from pipeline.serving.bundle import read_bundle
from pipeline.tracking.finished import facts_of, stored_predictions
from pipeline.training import features

SIDES = {"squeezenet": 64, "mobilenetv4s": 96}


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Overrides: photographs of three classes, and two networks whose weights are for pictures of different sizes."""
    chance, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for number in range(36):
        pixels = chance.integers(0, 80 + 80 * (number % 3), (70 + number, 110, 3), dtype=np.uint8)
        (root / "abc"[number % 3]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / "abc"[number % 3] / f"{number}.jpg")
    torch.manual_seed(0)
    files = {}
    for name, (called, made) in {
        "squeezenet": ("squeezenet1_0", get_model("squeezenet1_0")),
        "mobilenetv4s": ("mobilenetv4_conv_small", timm.create_model("mobilenetv4_conv_small")),
    }.items():
        files[name] = tmp_path_factory.mktemp(name) / "weights.pth"
        torch.save(made.state_dict(), files[name])
        facts = {"input_size": [3, SIDES[name], SIDES[name]], "mean": [0.5] * 3, "std": [0.25] * 3}
        config = {"architecture": called, "pretrained_cfg": facts}
        files[name].with_name("config.json").write_text(json.dumps(config))
    return files, [
        "data=folder", f"data.root={root}", "regime=frozen", "head=logistic", "trainer.accelerator=cpu",
        "trainer.precision=fp32", "trainer.batch_size=8", "trainer.num_workers=0", "tracking.experiment=joined",
    ]  # fmt: skip


def of_join(files, *names):
    weights = ", ".join(f"{name}: '{files[name]}'" for name in names)
    return [f"model.join=[{','.join(files)}]", f"model.join_weights={{{weights}}}"]


def test_it_answers_alike_at_its_end_and_evaluated_predicted_and_served(joined, store, typed, capsys, monkeypatch):
    files, base = joined
    for name, side in SIDES.items():
        alone = [f"model={name}", f"model.weights_file={files[name]}", f"data.image_size={side}"]
        assert typed("train", *base, *alone) == 0
    with monkeypatch.context() as patch:  # their kept features are all that is needed
        patch.delattr(features, "compute_features")
        assert typed("train", *base, *of_join(files, *files)) == 0
    run = store.get_run(re.findall(r"promote run=(\w+)", capsys.readouterr().out)[-1])
    assert run.data.tags["model"] == run.data.params["model.name"] == "squeezenet+mobilenetv4s"
    spec = facts_of(run).spec
    assert [part.preprocessing.image_size for part in spec.parts] == [64, 96]
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec

    kept = stored_predictions(run, "test")
    question = Question(store, evaluated(f"run={run.info.run_id}", "split=test"), run)
    monkeypatch.setattr("pipeline.experiment.question.has_predictions", lambda *_: False)
    asked, source, _ = question.answers("test")
    assert source == NETWORK
    np.testing.assert_array_equal(asked.ids, kept.ids)
    np.testing.assert_allclose(asked.probabilities(), kept.probabilities(), atol=1e-4)

    assert typed("promote", f"run={run.info.run_id}") == 0
    photos = [Path(question.table.root, name) for name in kept.ids]
    with monkeypatch.context() as patch:
        times = counted_decoding(patch)
        served = mlflow.pyfunc.load_model("models:/joined@champion").predict(
            pd.DataFrame({"image": [photo.read_bytes() for photo in photos]})
        )
    assert sum(times) == len(photos)
    assert typed("predict", f"images={question.table.root}", "output=said.csv") == 0
    said = pd.read_csv("said.csv").set_index("picture")
    calibrated = kept.at_temperature(temperature(store)).probabilities().max(axis=1)
    for photo, one, probability in zip(photos, served, calibrated, strict=True):
        assert said.label[str(photo)] == one["label"]
        assert one["probability"] == pytest.approx(probability, abs=1e-4)
        assert said.probability[str(photo)] == pytest.approx(probability, abs=1e-4)
    assert typed("evaluate", f"run={run.info.run_id}", "evaluation.tta=flips") == 2
    assert "evaluation.tta=flips: networks that are joined see a picture once" in capsys.readouterr().err


def evaluated(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("evaluate", [*overrides, "trainer.num_workers=0", "trainer.precision=fp32"]), "evaluate")


def temperature(store):
    version = store.get_model_version_by_alias("joined", "champion")
    folder = mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}")
    return read_bundle(Path(folder, "artifacts", "served")).calibration.temperature


def counted_decoding(patch):
    """How often a picture is decoded, one a time."""
    times, decoded = [], decoding._decode
    patch.setattr(decoding, "_decode", lambda *given: times.append(1) or decoded(*given))
    return times


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.join=[squeezenet]"], "one network alone is model=squeezenet; name two or more"),
        (["model.join=[squeezenet,squeezenet]"], "squeezenet is named twice"),
        (["model.join=[squeezenet,mobilenetv4]"], "no such model; did you mean mobilenetv4s?"),
        (["model.join_weights.vits=x.pth"], "model.join_weights.*: vits is not in model.join"),
        (["regime=imagenet"], "side by side: regime=frozen, not imagenet"),
        (["regime=scratch", "head=linear"], "side by side: regime=frozen, not scratch"),
        (["regime.views=2"], "leave out regime.views"),
        (["head=pretrained"], "head=pretrained asks one network as it came: leave out model.join"),
        (["model=vits"], "model.join names its networks itself, each with its own picture size: leave out model=vits"),
        (["data.image_size=64"], "leave out data.image_size=64"),
        (["model.join_weights={squeezenet: no.pth}"], "no.pth: there is no such file"),
    ],
    ids=str,
)
def test_what_cannot_be_joined_is_told_before_any_work(overrides, said, joined, typed, capsys):
    files, base = joined
    assert typed("train", *base, *of_join(files, *files), *overrides) == 2
    assert re.search(said, capsys.readouterr().err)


def test_it_is_said_which_file_of_which_network_is_wanted(joined, typed, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    files, base = joined
    assert typed("train", *base, *of_join(files, "mobilenetv4s")) == 2
    error = capsys.readouterr().err
    assert re.search(r"squeezenet1_0-\w+.pth and could not be fetched from https://", error)
    assert "or name them with 'model.join_weights={squeezenet: PATH}'" in error


def no_network(*_, **__):
    raise OSError("no network")
