"""What conf/ answers where a stored config says nothing: as Hydra would compose it."""

import pytest
from hydra import compose, initialize_config_dir

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.config.defaults import completed, defaults, flatten, of_a_stored
from pipeline.config.keys import CONF


def composed(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", [*overrides]), "train").model_dump(mode="json")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data=folder", "data.root='/a/ph${x}otos'", "model=effnetb0", "optimizer=sgd", "regime=lp_ft"],
        ["data=inat2021", "data.root=/inat", "loss=focal", "scheduler=onecycle", "augmentation=trivial", "head=mlp"],
        ["experiment=birds", "data.root=/cub", "regime=finetune", "model.weights_file=/w.pth"],
    ],
    ids=" ".join,
)
def test_they_are_what_hydra_composes_for_these_choices(overrides):
    config = composed(*[one.replace("${", "\\${") for one in overrides])
    answers = flatten(defaults(config))
    typed = {"data.root", "tracking.experiment", "model.weights_file"} | (
        {"trainer.epochs"} if "experiment=birds" in overrides else set()
    )
    differing = {key for key, value in flatten(config).items() if answers.get(key) != value}
    assert differing <= typed
    assert set(answers) <= set(flatten(config))


def test_a_search_begins_from_what_a_training_would():
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        searched = compose("tune")
        assert {key: one for key, one in searched.items() if key != "tune"} == compose("train")


def test_a_network_without_a_file_has_the_defaults_of_all():
    config = composed("model.name=timm/convnext_tiny")
    assert defaults(config)["model"]["weights"] == "DEFAULT"


def test_a_stored_config_is_completed_and_says_by_what():
    whole = composed("data.classes=[1,2]", "optimizer.lr=0.5", "augmentation=none")
    stored = composed("data.classes=[1,2]", "optimizer.lr=0.5", "augmentation=none")
    del stored["trainer"]["threads"], stored["data"]["split"]["group"], stored["tracking"]
    plain, added = completed(stored, defaults(stored))
    assert plain == whole
    assert sorted(added) == ["data.split.group", "tracking", "trainer.threads"]
    assert completed(whole, defaults(whole)) == (whole, [])


def test_what_is_older_than_a_key_means_what_it_meant_then():
    config = {"data": {"source": "folder", "name": "shells", "root": "shells"}}
    assert defaults(config)["data"]["label_depth"] is None
    assert of_a_stored(config)["data"]["label_depth"] == 1
    lists = of_a_stored({"data": {"source": "lists", "name": "shells", "root": "shells"}})["data"]
    assert (lists["labels_from"], lists["locations_from"]) == (0, 0)
    assert "label_depth" not in lists
