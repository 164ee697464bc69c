"""A model as a file of its own: the command as typed, on a run of a small network that was trained for real."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image

from pipeline.serving.onnx_file import PICTURES


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red and blue pictures of many sizes."""
    root = tmp_path_factory.mktemp("my photos")
    chance = np.random.default_rng(0)
    for number in range(48):
        pixels = chance.integers(0, 120, (40 + number, 90 - number, 3), dtype=np.uint8)
        pixels[..., 2 * (number % 2)] += 100
        file = root / ("red auk", "blue crane")[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(file)
    return root


@pytest.fixture
def trained(photos, store, typed):
    """The id of a run on them."""
    assert typed(
        "train", "data=folder", f"data.root={photos}", "model.name=timm/test_resnet", "regime=scratch",
        "data.image_size=32", "data.fit=pad", "trainer.epochs=1", "trainer.num_workers=0", "trainer.accelerator=cpu",
        "optimizer.lr=0.01", "tracking.experiment=auks",
    ) == 0  # fmt: skip
    (run,) = store.search_runs([store.get_experiment_by_name("auks").experiment_id])
    return run.info.run_id


def test_a_file_answers_as_its_run_does(trained, photos, typed):
    assert typed("export", f"run={trained}", "output=auks.onnx", "precision=int8", "lost=1") == 0
    table = pd.read_csv("auks_check.csv").set_index("form")
    assert table.loc["ONNX", "same_answer"] == 1
    assert table.loc["ONNX", "largest_difference"] < 1e-4
    assert table.loc["ONNX int8", "bytes"] < table.loc["ONNX", "bytes"]
    session = onnxruntime.InferenceSession("auks.onnx")
    told = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert told["classes"] == ["blue crane", "red auk"]
    assert told["run"] == trained
    assert told["calibration"]["temperature"] > 0
    shown = np.asarray(Image.open(photos / "red auk" / "00.png"))[None]
    logits, probabilities, _ = session.run(None, {PICTURES: shown})
    assert logits.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1)
