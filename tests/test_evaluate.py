"""Scoring runs on any pictures: the command as typed, with networks small enough to ask."""

import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from stored import CLASSES, finished, predictions

from pipeline.evaluation.predictions import Predictions
from pipeline.tracking.finished import TEST_LOOKS, artifact_folder
from pipeline.tracking.selection import find_run


def evaluate(monkeypatch, *arguments):
    """Type the command; its exit code."""
    from pipeline.evaluate import main

    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


def latest(store):
    [experiment] = [one for one in store.search_experiments() if one.name == "birds"]
    return store.search_runs([experiment.experiment_id], "tags.stage = 'evaluate'")[0]


@pytest.fixture
def asked(store, tmp_path):
    """A finished run with a network in it, and a folder of pictures of its classes."""
    import torch
    from safetensors.torch import save_file

    from pipeline.models.classifier import Classifier
    from pipeline.training.checkpoints import read_facts

    chance = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    run = finished(model__name="torchvision/squeezenet1_1")
    folder = artifact_folder(find_run(store, run), "checkpoints")
    torch.manual_seed(0)
    save_file(Classifier(read_facts(folder).spec).state_dict(), folder / "best.safetensors")
    data = {"name": "photos", "source": "folder", "root": str(tmp_path / "photos"), "image_size": 32, "split": {}}
    (folder.parent / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return run


def test_stored_predictions_answer_without_a_network(store, monkeypatch, capsys):
    run = finished(signal=2)  # it left no weights
    assert evaluate(monkeypatch, f"run={run}") == 0
    said = capsys.readouterr().out
    assert "from the run's stored predictions" in said.replace("\n", " ").replace("  ", " ")
    made, test = latest(store), predictions("test", pictures=90, signal=2)
    assert made.data.metrics["test/accuracy"] == pytest.approx(test.correct.mean())
    assert {"temperature", "test/ece_calibrated", "test/coverage_90", "test/set_size_90"} <= set(made.data.metrics)
    assert store.get_run(run).data.tags[TEST_LOOKS] == "1"
    kept = {file.path for file in store.list_artifacts(made.info.run_id)}
    assert {"reliability.png", "answered.png", "most_confused.csv", "class_report.csv", "predictions"} <= kept


def test_other_pictures_are_asked_once(asked, store, monkeypatch, tmp_path, capsys):
    arguments = [f"run={asked}", "data=folder", f"data.root={tmp_path}/photos", "trainer.num_workers=0"]
    assert evaluate(monkeypatch, *arguments) == 0
    first = latest(store)
    found = Predictions.read(artifact_folder(first, "predictions") / "all.parquet")
    assert len(found) == 24
    assert first.data.tags["source"] == "the network"
    assert evaluate(monkeypatch, *arguments) == 0
    assert "the evaluation" in latest(store).data.tags["source"]
    assert latest(store).data.metrics["all/accuracy"] == first.data.metrics["all/accuracy"]
    assert TEST_LOOKS not in store.get_run(asked).data.tags


@pytest.mark.parametrize("views", ["flips", "tencrop"])
def test_views_of_the_runs_own_pictures(views, asked, store, monkeypatch):
    arguments = [f"run={asked}", f"evaluation.tta={views}", "trainer.num_workers=0"]
    assert evaluate(monkeypatch, *arguments) == 0
    assert latest(store).data.tags["source"] == "the network"
    assert latest(store).data.tags["split"] == "test"


def test_labels_are_matched_by_name_and_unknown_ones_named(asked, store, monkeypatch, tmp_path, capsys):
    (tmp_path / "photos" / "auk").rename(tmp_path / "photos" / "zebra finch")
    arguments = [f"run={asked}", "data=folder", f"data.root={tmp_path}/photos", "trainer.num_workers=0"]
    assert evaluate(monkeypatch, *arguments) == 2
    assert "classes that the network does not know: zebra finch" in capsys.readouterr().err
    assert evaluate(monkeypatch, *arguments, "data.classes=[bee eater,crane]") == 0
    found = Predictions.read(artifact_folder(latest(store), "predictions") / "all.parquet")
    assert found.classes == CLASSES
    assert set(found.labels) == {1, 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=nothing"], "run=nothing: MLflow has no run of that id"),
        (["run=RUN", "model=models:/birds@champion"], "run and model both say what to score"),
        (["model=models:/birds@champion"], "model=models:/birds@champion: MLflow has no such model"),
        (["run=RUN", "checkpoint=last", "trainer.num_workers=0"], "checkpoint=last: the run kept no such weights; "),
        (["run=RUN", "evaluation.group=specimen"], "evaluation.group=specimen: photos has no such column"),
        (["run=RUN", "evaluation.tta=flip"], "evaluation.tta=flip: should be 'none', 'flips' or 'tencrop'"),
        (["run=RUN", "split=dev"], "split=dev: should be 'train', 'val', 'test' or 'all'"),
        (["run=RUN", "data=folder", "data.root=/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, asked, monkeypatch, capsys):
    assert evaluate(monkeypatch, *(one.replace("RUN", asked) for one in arguments)) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
