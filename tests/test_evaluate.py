"""Scoring runs on any pictures: the command as typed, with networks small enough to ask."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from stored import CLASSES, finished, predictions

from pipeline.data.batch import Inputs
from pipeline.data.split_files import keep_split
from pipeline.experiment import build
from pipeline.experiment.groups import groups_of_run
from pipeline.experiment.stored import data_config
from pipeline.models.classifier import Classifier
from pipeline.models.saved import load_network, read_facts
from pipeline.predictions.parquet import read_predictions
from pipeline.predictions.pooling import pool
from pipeline.tracking.finished import TEST_LOOKS, artifact_folder
from pipeline.tracking.selection import find_run


@pytest.fixture
def evaluate(typed):
    """Type the command, in this process and without mixed precision; its exit code."""
    return partial(typed, "evaluate", "trainer.num_workers=0", "trainer.precision=fp32")


def latest(store):
    [experiment] = [one for one in store.search_experiments() if one.name == "birds"]
    return store.search_runs([experiment.experiment_id], "tags.stage = 'evaluate'")[0]


def kept(run, split):
    """The predictions that an evaluation left for a split."""
    return read_predictions(artifact_folder(run, "predictions") / f"{split}.parquet")


def network_of(store, run, weights="best"):
    """A run's network with some of the weights that it kept."""
    folder = artifact_folder(find_run(store, run), "checkpoints")
    return load_network(read_facts(folder).spec, folder / f"{weights}.safetensors")


def said_of(network, ids, photos, *, mirrored=False):
    """A network's own probabilities of pictures, without the pipeline that asks it."""
    pictures = torch.stack([network.spec.preprocessing.read(photos / one) for one in ids])
    with torch.inference_mode():
        return network(Inputs(pictures.flip(-1) if mirrored else pictures)).softmax(1).numpy()


def keep_weights(store, run, name, seed):
    """Put the weights of a fresh network into a run, answers far enough apart to be told from another's."""
    folder = artifact_folder(find_run(store, run), "checkpoints")
    torch.manual_seed(seed)
    network = Classifier(read_facts(folder).spec)
    with torch.no_grad():
        network.head[-1].weight *= 20
    save_file(network.state_dict(), folder / f"{name}.safetensors")


@pytest.fixture
def make_asked(store, tmp_path):
    """Finished runs with a network in them, and a folder of pictures of their classes, two of each specimen."""
    chance = np.random.default_rng(0)
    rows = []
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
            split = ("train", "train", "val", "test")[number // 2]
            rows.append((f"{name}/{number}.png", name, split, f"{name} {number // 2}"))
    table = pd.DataFrame(rows, columns=["path", "label", "split", "specimen"])
    table.to_csv(tmp_path / "photos" / "table.csv", index=False)

    def make(seed=0, **data):
        run = finished(model__name="torchvision/squeezenet1_1", seed=seed)
        keep_weights(store, run, "best", seed)
        root = str(tmp_path / "photos")
        plain = {"name": "photos", "source": "folder", "root": root, "image_size": 32, "split": {}} | data
        folder = artifact_folder(find_run(store, run), "")
        (folder / "config.yaml").write_text(yaml.safe_dump({"data": plain}))
        keep_split(build.split_pictures(data_config(find_run(store, run))), folder)
        return run

    return make


@pytest.fixture
def asked(make_asked):
    """Such a run, of a folder of pictures."""
    return make_asked()


def as_table(photos):
    """The data section of a run that was trained on the pictures' table."""
    listed = {"path_column": "path", "label_column": "label", "split_column": None, "encoding": None}
    return {"source": "table", "file": str(photos / "table.csv"), **listed}


def test_stored_predictions_answer_without_a_network(store, capsys, evaluate):
    run = finished(signal=2)  # it left no weights
    assert evaluate(f"run={run}") == 0
    said = capsys.readouterr().out
    assert "on test of birds: 90 pictures, from the run's stored predictions" in said
    made, test = latest(store), predictions("test", pictures=90, signal=2)
    assert made.data.metrics["test/accuracy"] == pytest.approx(test.correct.mean())
    assert {"temperature", "test/ece_calibrated", "test/coverage_90", "test/set_size_90"} <= set(made.data.metrics)
    assert store.get_run(run).data.tags[TEST_LOOKS] == "1"
    files = {file.path for file in store.list_artifacts(made.info.run_id)}
    assert {"reliability.png", "answered.png", "most_confused.csv", "class_report.csv", "predictions"} <= files


def test_other_pictures_are_asked_once(asked, store, tmp_path, capsys, evaluate):
    arguments = [f"run={asked}", "data=folder", f"data.root={tmp_path}/photos"]
    assert evaluate(*arguments) == 0
    first = latest(store)
    assert len(kept(first, "all")) == 24
    assert first.data.tags["source"] == "the network"
    assert evaluate(*arguments) == 0
    assert "the evaluation" in latest(store).data.tags["source"]
    assert latest(store).data.metrics["all/accuracy"] == first.data.metrics["all/accuracy"]
    assert TEST_LOOKS not in store.get_run(asked).data.tags


def test_an_alias_that_moved_on_is_asked_anew(make_asked, store, tmp_path, typed, evaluate):
    question = ("model=models:/birds@champion", "data=folder", f"data.root={tmp_path}/photos")
    for run in (make_asked(0), make_asked(1)):
        assert typed("promote", f"run={run}") == 0
        assert evaluate(*question) == 0
        found = kept(latest(store), "all")
        expected = said_of(network_of(store, run), found.ids, tmp_path / "photos")
        np.testing.assert_allclose(found.probabilities(), expected, atol=1e-4)
    assert evaluate(*question, "checkpoint=epoch3") == 2


@pytest.mark.parametrize("views", ["flips", "tencrop"])
def test_views_of_the_runs_own_pictures(views, make_asked, store, tmp_path, evaluate):
    run = make_asked(**as_table(tmp_path / "photos"))
    assert evaluate(f"run={run}", f"evaluation.tta={views}") == 0
    made = latest(store)
    assert made.data.tags["source"] == "the network"
    assert made.data.tags["split"] == "test"
    assert "temperature" in made.data.metrics  # from val, seen in the same views
    found = kept(made, "test")
    assert len(found) == 6
    network = network_of(store, run)
    once, mirrored = (said_of(network, found.ids, tmp_path / "photos", mirrored=flip) for flip in (False, True))
    assert np.abs(found.probabilities() - once).max() > 1e-4
    if views == "flips":
        np.testing.assert_allclose(found.probabilities(), (once + mirrored) / 2, atol=1e-4)


def test_another_checkpoint_is_asked_and_so_is_its_val(make_asked, store, tmp_path, evaluate):
    run = make_asked(**as_table(tmp_path / "photos"))
    keep_weights(store, run, "epoch3", seed=7)
    assert evaluate(f"run={run}", "checkpoint=epoch3") == 0
    made = latest(store)
    assert made.data.tags["source"] == "the network"
    assert made.data.params["checkpoint"] == "epoch3"
    found = kept(made, "test")
    for weights, alike in (("epoch3", True), ("best", False)):
        expected = said_of(network_of(store, run, weights), found.ids, tmp_path / "photos")
        assert np.allclose(found.probabilities(), expected, atol=1e-4) == alike
    assert "ece_calibrated" in str(made.data.metrics)


def test_an_ensemble_is_scored_on_its_own_test_and_on_other_pictures(make_asked, store, tmp_path, typed, evaluate):
    members = [make_asked(seed) for seed in (0, 1)]
    assert typed("ensemble", f"runs=[{members[0]},{members[1]}]", "choose=soft_vote") == 0
    experiment = store.get_experiment_by_name("birds").experiment_id
    (voted,) = store.search_runs([experiment], "tags.stage = 'ensemble'")

    assert evaluate(f"run={voted.info.run_id}") == 0
    own = latest(store)
    assert own.data.tags["source"] == "the run's stored predictions"
    assert own.data.metrics["test/accuracy"] == pytest.approx(voted.data.metrics["test/accuracy"])
    assert own.data.metrics["test/ece"] == pytest.approx(voted.data.metrics["test/ece"])

    others = ("data=folder", f"data.root={tmp_path}/photos")
    assert evaluate(f"run={voted.info.run_id}", *others) == 0
    found = kept(latest(store), "all")
    said = [said_of(network_of(store, one), found.ids, tmp_path / "photos") for one in members]
    np.testing.assert_allclose(found.probabilities(), np.mean(said, axis=0), atol=1e-4)
    assert latest(store).data.metrics["all/accuracy"] == pytest.approx(found.correct.mean())

    keep_weights(store, members[0], "epoch3", seed=7)
    assert evaluate(f"run={voted.info.run_id}", *others, "checkpoint=epoch3") == 2


def test_pictures_of_one_specimen_are_answered_as_one(make_asked, store, tmp_path, capsys, evaluate):
    run = make_asked(**as_table(tmp_path / "photos"))
    # In both splits pictures are asked, so that calibration is that of specimens too.
    arguments = [f"run={run}", "evaluation.tta=flips"]
    assert evaluate(*arguments, "evaluation.group=specimen") == 0
    made = latest(store)
    assert "on test of birds: 3 specimens" in capsys.readouterr().out
    single, pooled = kept(made, "test"), kept(made, "test_pooled")
    assert len(single) == 6
    assert sorted(pooled.ids) == [f"{name} 3" for name in CLASSES]
    expected = pool(single, [one.partition("/")[0] + " 3" for one in single.ids])
    np.testing.assert_allclose(pooled.probabilities(), expected.probabilities(), atol=1e-6)
    for number, specimen in enumerate(pooled.ids):
        own = [one.startswith(specimen[:-2]) for one in single.ids]
        np.testing.assert_allclose(pooled.probabilities()[number], single.probabilities()[own].mean(axis=0), atol=1e-5)
    assert made.data.metrics["test/accuracy"] == pytest.approx(pooled.correct.mean())
    report = pd.read_csv(artifact_folder(made, "") / "class_report.csv")
    assert list(report.iloc[: len(CLASSES)]["pictures"]) == [1, 1, 1]
    assert set(groups_of_run(store, find_run(store, run), "specimen").values()) >= set(pooled.ids)
    # What the network said of single pictures is not asked again.
    assert evaluate(*arguments) == 0
    assert latest(store).data.tags["source"] == f"the evaluation {made.info.run_name}"
    assert latest(store).data.metrics["test/accuracy"] == pytest.approx(single.correct.mean())


def test_a_specimen_of_two_classes_is_named_before_any_network_is_asked(asked, store, tmp_path, capsys, evaluate):
    table = pd.read_csv(tmp_path / "photos" / "table.csv")
    table.loc[0, "specimen"] = "crane 0"
    table.to_csv(tmp_path / "photos" / "table.csv", index=False)
    arguments = ("data=table", f"data.file={tmp_path}/photos/table.csv", "split=all", "evaluation.group=specimen")
    assert evaluate(f"run={asked}", *arguments) == 2
    told = capsys.readouterr().err
    assert "evaluation.group=specimen: crane 0 is labelled auk and crane in table: correct its label" in told


def test_labels_are_matched_by_name_and_unknown_ones_named(asked, store, tmp_path, capsys, evaluate):
    (tmp_path / "photos" / "auk").rename(tmp_path / "photos" / "zebra finch")
    arguments = [f"run={asked}", "data=folder", f"data.root={tmp_path}/photos"]
    assert evaluate(*arguments) == 2
    assert "classes that the network does not know: zebra finch" in capsys.readouterr().err
    assert evaluate(*arguments, "data.classes=[bee eater,crane]") == 0
    found = kept(latest(store), "all")
    assert found.classes == CLASSES
    assert set(found.labels) == {1, 2}
    capsys.readouterr()
    assert evaluate(*arguments, "evaluation.unknown_classes=ask") == 0
    again = kept(latest(store), "all")
    assert again.ids.tolist() == found.ids.tolist()
    told = capsys.readouterr()
    assert "nothing was noted of the pictures; train the run again" in told.out + told.err


@pytest.mark.parametrize(
    ("group", "remedy"),
    [
        ("specimn", "; did you mean specimen?"),
        ("byte", "; it can be one of specimen"),
        ("bytes", "; it can be one of specimen"),
        ("label", "; it can be one of specimen"),
    ],
)
def test_only_columns_that_the_user_brought_make_groups(group, remedy, make_asked, tmp_path, capsys, evaluate):
    run = make_asked(**as_table(tmp_path / "photos"))
    assert evaluate(f"run={run}", f"evaluation.group={group}") == 2
    assert capsys.readouterr().err == f"error: evaluation.group={group}: photos has no such column{remedy}\n"


def test_damaged_answers_are_asked_for_again(asked, store, capsys, evaluate, tmp_path):
    file = artifact_folder(find_run(store, asked), "predictions") / "test.parquet"
    file.write_bytes(file.read_bytes()[:300])
    assert evaluate(f"run={asked}") == 0
    told = capsys.readouterr()
    assert "test.parquet is no whole Parquet file" in told.err + told.out
    assert "from the network" in told.out
    assert "what it got wrong: " in told.out


def test_a_split_that_is_not_there_brings_those_that_are(make_asked, capsys, evaluate):
    run = make_asked(split={"test": 0})
    assert evaluate(f"run={run}", "evaluation.tta=flips") == 2
    assert capsys.readouterr().err.endswith("split=test: photos has no such pictures; it can be train, val or all\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=nothing"], "run=nothing: MLflow has no run of that id"),
        (["run=RUN", "model=models:/birds@champion"], "run and model both say what to score"),
        (["model=models:/birds@champion", "checkpoint=epoch3"], "a registered model has its best weights only"),
        (["model=models:/birds@champion"], "model=models:/birds@champion: MLflow has no such model"),
        (["run=RUN", "checkpoint=last"], "checkpoint=last: the run kept no such weights; "),
        (["run=RUN", "evaluation.group=specimen"], "evaluation.group=specimen: photos has no such column"),
        (["run=RUN", "evaluation.tta=flip"], "evaluation.tta=flip: should be 'none', 'flips' or 'tencrop'"),
        (["run=RUN", "split=dev"], "split=dev: should be 'train', 'val', 'test' or 'all'"),
        (["run=RUN", "data=folder", "data.root=/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, asked, capsys, evaluate):
    assert evaluate(*(one.replace("RUN", asked) for one in arguments)) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
