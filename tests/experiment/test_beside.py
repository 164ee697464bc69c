"""Columns beside the pictures: joined to the features for every head and regime, asked again, voted, served."""

import base64
import json
import re

import mlflow
import numpy as np
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
from pipeline.data.batch import Inputs
from pipeline.experiment.ablation import tell_columns
from pipeline.experiment.training import ground, prepare, train
from pipeline.tracking.runs import local_folder
from pipeline.training.loop import Progress

REGIONS = dict(zip("abc", ("north", "south", "east"), strict=True))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Overrides: two pictures, 45 times each, in three classes; their region, in a file beside, tells these alone."""
    from torchvision.models import squeezenet1_0

    chance, folder = np.random.default_rng(0), tmp_path_factory.mktemp("noise")
    lines = ["path,region,depth"]
    two = chance.integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    for number in range(90):
        label = "abc"[number % 3]
        (folder / "photos" / label).mkdir(exist_ok=True, parents=True)
        Image.fromarray(two[number % 2]).save(folder / "photos" / label / f"{number}.png")
        lines.append(f"{label}/{number}.png,{REGIONS[label]},{number % 7}")
    (folder / "facts.csv").write_text("\n".join(lines))
    torch.manual_seed(0)
    torch.save(squeezenet1_0().state_dict(), folder / "weights.pth")
    return folder, [
        "data=folder", f"data.root={folder / 'photos'}", f"data.beside={folder / 'facts.csv'}", "data.image_size=32",
        "data.split.val=0.2", "model=squeezenet", f"model.weights_file={folder / 'weights.pth'}", "regime=frozen",
        "trainer.accelerator=cpu", "trainer.precision=fp32", "trainer.batch_size=16", "trainer.num_workers=0",
    ]  # fmt: skip


def composed(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", list(overrides)), "train")


def trained(folder, *overrides):
    config, progress = composed(*overrides), Progress()
    epochs = list(train(config, prepare(config), folder, progress))
    return max(epoch.val_accuracy for epoch in epochs), load_best(folder)[0]


GRADIENT = ("trainer.epochs=20", "optimizer.lr=0.1", "trainer.batch_size=8")


@pytest.mark.parametrize(
    "head",
    [
        ["head=linear", *GRADIENT], ["head=mlp", "head.hidden=[16]", "head.dropout=0", *GRADIENT, "optimizer.lr=0.01",
         "metadata.scale=40"],
        ["head=flatten", *GRADIENT], ["head=logistic"], ["head=prototype"], ["head=knn"],
        ["head=sklearn", "head.estimator=RidgeClassifier"],
        ["regime=finetune", "trainer.epochs=6", "optimizer.lr=0.01", "trainer.num_workers=1"],
        ["regime.views=2", "head=logistic", "trainer.refit=true", "metadata.scale=20"],
    ],
    ids=lambda head: head[0],
)  # fmt: skip
def test_every_head_hears_a_column_and_answers_without(head, photos, tmp_path):
    _, how = photos
    accuracy, network = trained(tmp_path, *how, "data.metadata=[region]", *head)
    assert accuracy > 0.85
    assert network.join.size > 0
    shown = Inputs(pixels=torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with torch.inference_mode():
        without = network(shown)
        assert without.isfinite().all()
        assert torch.equal(without, network(shown._replace(metadata=torch.full((2, 1), torch.nan))))
        told = network(shown._replace(metadata=torch.tensor([[1.0], [2.0]]))).argmax(1)
    assert told.tolist() == [0, 1]  # east, north, south stand in their order


def test_a_head_is_taught_both_ways_at_once(photos):
    _, how = photos
    network = prepare(composed(*how, "data.metadata=[region]")).network
    network.join.measure(torch.randn(4, network.n_features))
    pictures = Inputs(pixels=torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8))
    known = pictures._replace(metadata=torch.tensor([[0.0], [2.0]]))
    with torch.no_grad():
        shown = network.eval()(known), network(pictures)
        network.join.train()
        assert torch.allclose(network(known), torch.cat(shown))
        network.join.dropout = 0.0
        assert torch.allclose(network(known), shown[0])


def test_it_is_not_given_what_is_not_asked_for(photos, tmp_path):
    _, how = photos
    for number, overrides in enumerate(([], ["data.metadata=[region]", "metadata=none"])):
        accuracy, network = trained(tmp_path / str(number), *how, "head=logistic", *overrides)
        assert network.join is None
        assert accuracy < 0.7


def test_a_column_of_any_title_that_tells_the_class_is_noted(photos, tmp_path):
    folder, how = photos
    text = (folder / "facts.csv").read_text().replace("region", "Größe (m): x", 1)
    (tmp_path / "facts.csv").write_text(text)
    how = [*how, f"data.beside={tmp_path / 'facts.csv'}", "data.metadata=['Größe (m): x']", "head=logistic"]
    (tag,) = tell_columns(prepare(composed(*how))).keys() - {"beside_digest"}
    assert re.fullmatch(r"[\w. -]+", tag)


def test_runs_of_other_columns_or_cells_are_other_trainings(photos, tmp_path):
    folder, how = photos
    text = (folder / "facts.csv").read_text()
    digests = []
    for number, (column, changed) in enumerate(
        [("region", text), ("depth", text), ("region", text.replace("st,", "sst,"))]
    ):
        (tmp_path / f"{number}.csv").write_text(changed)
        config = composed(*how, f"data.beside={tmp_path / f'{number}.csv'}", f"data.metadata=[{column}]")
        digests.append(ground(config).identity(config))
    assert len({one["files_digest"] for one in digests}) == 3
    assert len({one["data_digest"] for one in digests}) == 1  # they are compared on the same pictures


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.metadata=[regoin]"], "no column is called 'regoin'; did you mean region"),
        (["data.beside=no.csv"], "data.beside: there is no file"),
        (["data.metadata=[region]", "head=pretrained"], "head=pretrained learns nothing from pictures"),
    ],
)
def test_what_cannot_be_stops_before_any_work(overrides, said, photos):
    _, how = photos
    with pytest.raises(BadInput, match=said):
        ground(composed(*how, *overrides))


def test_a_run_says_what_the_column_did_and_is_evaluated_voted_predicted_and_served(
    photos, store, typed, tmp_path, capsys
):
    folder, how = photos
    how = [*how, "tracking.experiment=noise", "head=logistic"]
    assert typed("train", *how, "data.metadata=[region,depth]") == 0
    assert "region alone tells the class of 100 % of the training pictures" in capsys.readouterr().out
    (run,) = store.search_runs(["1"])
    assert "data.determined.region" in run.data.tags
    artifacts = local_folder(run.info.artifact_uri)
    told = pd.read_csv(artifacts / "metadata.csv", index_col="columns")
    assert list(told.index) == ["with", "without", "mixed up", "mixed up: region", "mixed up: depth", "alone"]
    assert told["accuracy"]["with"] > 0.9
    assert told["accuracy"]["without"] < 0.7
    assert told["accuracy"]["alone"] > 0.9
    assert told["low"]["mixed up: region"] > 0
    smoke = [*how, "data.metadata=[region]", "metadata.scale=10", "tracking.experiment=smoke"]
    assert typed("train", *smoke, "trainer.limit_batches=1", "trainer.batch_size=6") == 0
    assert run.data.metrics["test/accuracy_without"] == pytest.approx(told["accuracy"]["without"])
    assert typed("train", *how) == 0
    assert typed("compare", "tracking.experiment=noise") == 0
    assert "without its columns it is right in" in " ".join(capsys.readouterr().out.split())
    (page,) = (tmp_path / "mlruns").rglob("comparison.html")
    assert "The picture, or the column?" in page.read_text()
    assert typed("ensemble", "strategies=[soft_vote]", "choose=soft_vote", "best=2") == 0
    assert typed("evaluate", f"run={run.info.run_id}", "split=all", "trainer.num_workers=0") == 0
    assert "from the network" in (said := capsys.readouterr().out)
    assert "has changed" not in said
    facts = (folder / "facts.csv").read_text()
    (folder / "facts.csv").write_text(facts.replace("north", "south"))
    assert typed("evaluate", f"run={run.info.run_id}", "split=all", "trainer.num_workers=0") == 0
    assert "what is known of region and depth beside its pictures has changed" in capsys.readouterr().out
    (folder / "facts.csv").write_text(facts)
    ensemble = store.search_runs(["1"], "tags.stage = 'ensemble'")[0]
    assert typed("promote", f"run={ensemble.info.run_id}") == 0
    # The server, by MLflow's own checks of what is sent.
    served = mlflow.pyfunc.load_model("models:/noise@champion")
    columns = {spec.name: (spec.type.name, spec.required) for spec in served.metadata.get_input_schema()}
    assert columns == {"image": ("string", True), "region": ("string", False), "depth": ("double", False)}
    image = base64.b64encode((folder / "photos" / "a" / "0.png").read_bytes()).decode()
    asked = pd.DataFrame({"image": [image] * 4, "region": ["south", "nowhere", None, ""], "depth": [1.0, np.nan, 2, 3]})
    answers = served.predict(asked)
    assert answers[0]["label"] == "b"
    assert len({json.dumps(one["label"]) for one in answers[1:]}) >= 1
    assert len(served.predict(asked[["image"]])) == 4
    # And `predict`, of whose file's rows one has no picture, one a name that is new, and one is blank.
    (tmp_path / "new.csv").write_text("file,region,depth\n0.png,south,1\n3.png,,\n6.png,nowhere,2\nx.png,east,3\n")
    capsys.readouterr()
    assert typed("predict", f"images={folder / 'photos' / 'a'}", f"beside={tmp_path / 'new.csv'}") == 0
    rows = pd.read_csv("predictions.csv", index_col="picture")
    assert rows["label"][str(folder / "photos" / "a" / "0.png")] == "b"
    assert "1 rows of which there is no picture: x.png" in capsys.readouterr().out
    assert typed("predict", f"images={folder / 'photos' / 'a'}", "output=without.csv") == 0
    assert "nothing is known of region and depth" in capsys.readouterr().out
    (tmp_path / "new.csv").write_text("file,region,depth\n0.png,south,deep\n")
    assert typed("predict", f"images={folder / 'photos' / 'a'}", f"beside={tmp_path / 'new.csv'}") == 2
    assert "0.png: depth is 'deep', no number" in capsys.readouterr().err


def test_a_run_that_broke_off_goes_on_as_in_one_go(photos, tmp_path):
    _, how = photos
    config = composed(*how, "data.metadata=[region,depth]", "trainer.epochs=4", "trainer.checkpoint_minutes=0")

    def epochs(folder):
        torch.manual_seed(0)
        return train(config, prepare(config), folder, Progress())

    whole, begun = list(epochs(tmp_path / "whole")), epochs(tmp_path / "broken")
    next(begun), next(begun)
    begun.close()
    rest = list(epochs(tmp_path / "broken"))
    assert [one.epoch for one in rest] == [3, 4]
    assert [one.train_loss for one in rest] == [one.train_loss for one in whole[2:]]
    assert load_best(tmp_path / "broken")[0].join.size == load_best(tmp_path / "whole")[0].join.size > 0
