"""Heads that are fitted once to kept features: trained, told of, combined, served as any other."""

import json
import re

import mlflow
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from small_networks import SMALL
from stored import load_best

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.experiment.stored import finished_config
from pipeline.experiment.training import prepare, train
from pipeline.tracking.places import local_folder
from pipeline.training.loop import Progress


def trained(folder, *overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        config = check(compose("train", [*SMALL, *overrides]), "train")
    progress = Progress()
    epochs = list(train(config, prepare(config), folder, progress))
    return epochs, load_best(folder)[0], progress


def test_it_is_one_epoch_without_a_learning_rate(tmp_path, weights):
    (epoch,), network, progress = trained(tmp_path, weights, "head=logistic", "trainer.keep_epochs=[1]")
    assert epoch.improved
    assert "lr" not in epoch.metrics()
    assert progress.best_epoch == 1
    assert [row["val/loss"] for row in progress.history] == [epoch.val_loss]
    assert epoch.val_accuracy > 0.6
    assert network.head.linear.weight.shape == (3, 512)
    assert (tmp_path / "epoch_1.safetensors").exists()
    other, *_ = trained(tmp_path / "again", weights, "head=logistic", "seed=0")
    assert other[0].val_loss == epoch.val_loss


def test_class_weights_and_augmented_views_change_what_is_fitted(tmp_path, weights):
    (_, plain, _), *others = (
        trained(tmp_path / str(number), weights, "head=logistic", *overrides)
        for number, overrides in enumerate(
            [[], ["loss=weighted", "loss.class_weights={0: 9.0}"], ["regime.views=2"], ["head.C=0.001"]]
        )
    )
    for _, network, _ in others:
        assert not torch.allclose(network.head.linear.weight, plain.head.linear.weight)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["regime=scratch"], "head=logistic is fitted to .* does not train: add regime=frozen"),
        (["loss=focal"], "head=logistic minimises cross-entropy.* leave out loss=focal"),
        (["loss.label_smoothing=0.1"], "leave out loss.label_smoothing"),
        (["trainer.keep_epochs=[2]"], "the last epoch is 1"),
        (["head=prototype", "loss=weighted"], "head=prototype minimises no loss that can be chosen: leave out loss=w"),
        (["head=sklearn", "head.estimator=LinearDiscriminantAnalysis", "loss=weighted"], "leave out loss=weighted"),
        (["head=sklearn", "head.estimator=KNN"], "head.estimator=KNN: no such estimator; it can be one of AdaBoost"),
        (
            ["head=linear", "trainer.refit=true"],
            "head=linear learns by gradient, .*: logistic, proto",
        ),
        (["head=pretrained", "regime=frozen"], "class 0: ImageNet has no class 0; a CSV with the columns"),
    ],
    ids=str,
)
def test_what_cannot_be_fitted_is_told_before_any_work(overrides, said, tmp_path, weights):
    with pytest.raises(BadInput, match=said):
        trained(tmp_path, "head=logistic", weights, *overrides)


def test_who_types_an_optimizer_for_a_head_without_gradients_is_told(typed, capsys):
    assert typed("train", *SMALL, "head=prototype", "optimizer.lr=0.1") == 2
    assert "head=prototype learns nothing by gradient: leave out optimizer.lr=0.1" in capsys.readouterr().err


def test_what_is_fitted_once_more_answers_test_and_not_val(typed, store, weights, capsys):
    assert typed("train", *SMALL, weights, "head=knn", "trainer.refit=true") == 0
    said = capsys.readouterr().out
    assert "fitted once more, on all 96 features of train and val" in said
    run = store.get_run(re.search(r"promote run=(\w+)", said)[1])
    assert run.data.tags["refit"].startswith("on train and val")
    kept = {path.path for path in store.list_artifacts(run.info.run_id, "checkpoints")}
    assert kept == {"checkpoints/best.json", "checkpoints/best.safetensors", "checkpoints/before_refit.safetensors"}
    # One that had seen val would know each of its pictures.
    assert run.data.metrics["best/val_accuracy"] == run.data.metrics["val/accuracy"] < 1
    assert (
        typed("evaluate", f"run={run.info.run_id}", "split=val", "evaluation.tta=flips", "trainer.num_workers=0") == 0
    )
    evaluated = next(one for one in store.search_runs([run.info.experiment_id]) if one.data.tags["stage"] == "evaluate")
    assert evaluated.data.metrics["val/accuracy"] < 1
    assert typed("promote", f"run={run.info.run_id}") == 0
    version = store.get_model_version_by_alias("digits", "champion")
    assert "Fitted once more on train and val; the figures of val are from before" in version.description


@pytest.mark.usefixtures("store")
def test_an_estimator_and_class_means_vote_and_are_served(typed, weights, tmp_path, capsys):
    for head in (["head=sklearn", "head.estimator=LinearSVC"], ["head=prototype"]):
        assert typed("train", *SMALL, weights, *head) == 0
    assert typed("ensemble", "strategies=[soft_vote]", "choose=soft_vote") == 0
    vote = re.search(r"promote run=(\w+)", capsys.readouterr().out.rpartition("soft_vote")[2] or "")
    assert typed("compare") == 0
    assert typed("promote", *([f"run={vote[1]}"] if vote else [])) == 0
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    model = mlflow.pyfunc.load_model("models:/digits@champion")
    (answer,) = model.predict(pd.DataFrame({"image": [(tmp_path / "white.png").read_bytes()]}))
    assert 0 < answer["probability"] <= 1


def test_a_run_that_says_logreg_is_read_as_logistic(store, weights, typed, capsys):
    assert typed("train", *SMALL, weights, "head=logistic", "head.C=1") == 0
    run = store.get_run(re.search(r"promote run=(\w+)", capsys.readouterr().out)[1])
    home = local_folder(run.info.artifact_uri)
    for file, new, old in (
        (home / "config.yaml", "name: logistic", "name: logreg"),
        (home / "checkpoints" / "best.json", '"name": "logistic"', '"name": "logreg"'),
    ):
        text = file.read_text()
        assert new in text
        file.write_text(text.replace(new, old))
    assert finished_config(run).head.name == "logistic"
    network, _ = load_best(home / "checkpoints")
    assert network.spec.head.name == "logistic"


@pytest.mark.usefixtures("store")
def test_it_is_combined_promoted_and_served_like_a_head_that_trains(typed, weights, tmp_path, capsys):
    ids = []
    for head in ("logistic", "linear"):
        assert typed("train", *SMALL, weights, f"head={head}", "trainer.epochs=3") == 0
        said = capsys.readouterr().out
        ids.append(re.search(r"promote run=(\w+)", said)[1])
        if head == "logistic":
            assert "verdict: sound" in said
    runs = [mlflow.get_run(one) for one in ids]
    assert "lr" not in runs[0].data.metrics
    assert runs[0].data.params["head.C"] == "auto"
    assert typed("train", f"resume={ids[0]}") == 2
    assert "there is nothing to go on from (finished)" in capsys.readouterr().err
    assert typed("evaluate", f"run={ids[0]}", "trainer.num_workers=0") == 0
    assert typed("ensemble", "strategies=[soft_vote]") == 0
    assert typed("promote", f"run={ids[0]}") == 0
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    assert typed("predict", "images=white.png") == 0
    said = pd.read_csv("predictions.csv")
    model = mlflow.pyfunc.load_model("models:/digits@champion")
    (answer,) = model.predict(pd.DataFrame({"image": [(tmp_path / "white.png").read_bytes()]}))
    assert answer["probability"] == pytest.approx(said["probability"][0], abs=1e-4)
    facts = json.loads((tmp_path / "mlruns").rglob("best.json").__next__().read_text())
    assert facts["network"]["head"]["name"] in ("logistic", "linear")
