"""Heads that are fitted once to kept features: trained, told of, combined, served as any other."""

import json
import re

import mlflow
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from stored import load_best

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.experiment.training import prepare, train
from pipeline.training.loop import Progress

SMALL = (
    "data=digits", "data.classes=3", "model=squeezenet", "regime=frozen", "trainer.accelerator=cpu",
    "trainer.precision=fp32", "trainer.batch_size=24", "trainer.limit_batches=2", "trainer.num_workers=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from torchvision.models import squeezenet1_0

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    return f"model.weights_file={file}"


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
    ],
    ids=str,
)
def test_what_cannot_be_fitted_is_told_before_any_work(overrides, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        trained(tmp_path, "head=logistic", *overrides)


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
