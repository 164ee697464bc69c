"""A model as a file of its own: the command as typed, on a run of a small network that was trained for real."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from PIL import Image
from stored import finished

from pipeline.common.errors import BadInput
from pipeline.serving.onnx_file import PICTURES, OnnxFile


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


# What `predict` prints of its last modules is on a line of its own.
ASK = """
import sys
import pipeline.predict
pipeline.predict.main()
print(sorted({"torch", "mlflow", "lightning_fabric", "matplotlib", "sklearn"} & set(sys.modules)))
"""


def test_a_file_answers_as_its_run_does_without_pytorch(trained, photos, tmp_path, typed):
    assert typed("export", f"run={trained}", "output=auks.onnx") == 0
    table = pd.read_csv("auks_check.csv").set_index("form")
    assert table.loc["ONNX", "same_answer"] == 1
    assert table.loc["ONNX", "largest_difference"] < 1e-4
    session = onnxruntime.InferenceSession("auks.onnx")
    told = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert told["classes"] == ["blue crane", "red auk"]
    assert told["run"] == trained
    odd = onnx.load("auks.onnx")
    onnx.helper.set_model_props(odd, session.get_modelmeta().custom_metadata_map | {"classes": '["auk"]'})
    onnx.save(odd, "odd.onnx")
    with pytest.raises(BadInput, match=r"odd\.onnx: .* answers with 2 classes and names 1"):
        OnnxFile.read("odd.onnx")
    assert told["calibration"]["temperature"] > 0
    shown = np.asarray(Image.open(photos / "red auk" / "00.png"))[None]
    logits, probabilities, _ = session.run(None, {PICTURES: shown})
    assert logits.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1)
    # The same rows as of the model itself, by a process that never sees PyTorch nor MLflow.
    (photos / "broken.png").write_bytes(b"no picture")
    asked = [f"images={photos}", "coverage=0.5", "output=by_file.csv", "model=auks.onnx"]
    done = subprocess.run([sys.executable, "-c", ASK, *asked], capture_output=True, text=True, check=True)
    assert "skipped" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert typed("promote", f"run={trained}") == 0
    assert typed("predict", *asked[:2], "output=by_run.csv", "tracking.experiment=auks") == 0
    by_file, by_run = (pd.read_csv(tmp_path / name) for name in ("by_file.csv", "by_run.csv"))
    assert len(by_run) == 48
    pd.testing.assert_frame_equal(by_file, by_run, rtol=0, atol=1e-4)


def test_what_cannot_be_is_told_before_any_work(photos, store, tmp_path, typed, capsys):
    run = finished(model__name="torchvision/squeezenet1_1")

    def refused(*given):
        assert typed("export", *given) == 2
        return capsys.readouterr().err

    assert "run and model both" in refused(f"run={run}", "model=models:/birds@champion")
    assert "opset=11: from 18, the oldest that PyTorch converts to" in refused(f"run={run}", "opset=11")
    assert "in a folder that is there" in refused(f"run={run}", "output=nowhere/birds.onnx")
    assert "licence='CC BY 4.0'" in refused(f"run={run}", "form=release", "output=birds")
    assert "precision=int8: form=animl" in refused(f"run={run}", "form=animl", "precision=int8")
    (tmp_path / "model.onnx").write_bytes(b"somebody's model")
    assert "holds something else" in refused(f"run={run}")
    assert (tmp_path / "model.onnx").read_bytes() == b"somebody's model"
    assert typed("predict", "model=model.onnx", f"images={photos}") == 2
    assert "no file that python -m pipeline.export wrote" in capsys.readouterr().err
