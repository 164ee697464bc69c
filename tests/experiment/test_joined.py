"""Several frozen backbones before one head: trained, asked again and served as one network."""

import json
import re

import mlflow
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.models import get_model

from pipeline.models.saved import read_facts
from pipeline.predictions.predictions import Predictions
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


def test_it_answers_alike_at_the_end_evaluated_predicted_and_served(
    joined, store, typed, capsys, tmp_path, monkeypatch
):
    files, base = joined
    for name, side in SIDES.items():
        alone = [f"model={name}", f"model.weights_file={files[name]}", f"data.image_size={side}"]
        assert typed("train", *base, *alone) == 0
    with monkeypatch.context() as patch:  # their kept features are all that is needed

        def none(*_, **__):
            raise AssertionError("a pass over the pictures")

        patch.setattr(features, "compute_features", none)
        assert typed("train", *base, *of_join(files, *files)) == 0
    run = store.get_run(re.findall(r"promote run=(\w+)", capsys.readouterr().out)[-1])
    assert run.data.tags["model"] == run.data.params["model.name"] == "squeezenet+mobilenetv4s"
    checkpoints = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="checkpoints")
    spec = read_facts(__import__("pathlib").Path(checkpoints)).spec
    assert [part.preprocessing.image_size for part in spec.parts] == [64, 96]
    assert typed("promote", f"run={run.info.run_id}") == 0
    file = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="predictions/test.parquet")
    stored = Predictions.read(file)
    print(stored)
