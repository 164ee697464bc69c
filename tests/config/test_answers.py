"""Every answer of every config group is composed, checked and trained for two steps; a new one by being there."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from clip_files import TIMM, published
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from stored import load_best

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.config.keys import CONF
from pipeline.data.batch import Inputs
from pipeline.experiment.backbones import backbones, with_its_size
from pipeline.experiment.training import prepare, train
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS
from pipeline.models.saved import load_network, read_facts
from pipeline.models.shelf import shelf
from pipeline.training.loop import Progress

# Two steps and two batches of val, on the least pictures that any network takes.
SMALL = (
    "data.classes=3",
    "trainer.limit_batches=2",
    "trainer.batch_size=4",
    "trainer.epochs=1",
    "trainer.accelerator=cpu",
    "trainer.num_workers=0",
)
FAST = "model=squeezenet"
# Pixels; the others do with 32.
LEAST = {"alexnet": 63, "dinov2s": 28, "eva02s": 28}
TRAINED = 30  # million parameters, and less
NOT_ANSWERS = {
    "hydra",
    "experiment",
    "data",
    "model",
    "regime",
}  # no choice of a run's, or tested on their own


def answers(group):
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if file.stem != "base")


GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name not in NOT_ANSWERS)


def composed(*overrides, command="train"):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose(command, list(overrides)), command)


def trained(folder, *overrides):
    """Train as the command does, without MLflow; gives the epochs and the best network."""
    config = composed(*SMALL, *overrides)
    torch.manual_seed(0)
    prepared = prepare(config)
    before = [tensor.clone() for tensor in prepared.network.state_dict().values()]
    epochs = list(train(config, prepared, folder, Progress()))
    assert all(math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss) for epoch in epochs)
    after = prepared.network.state_dict().values()
    changed = any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert changed == (config.head.name not in ("pretrained", "text"))
    network, facts = load_best(folder)
    assert facts.classes == tuple(prepared.table.classes)
    return epochs, network


def random_weights(folder):
    """A file of squeezenet's weights as a stranger might bring them."""
    from torchvision.models import squeezenet1_0

    torch.save(squeezenet1_0().state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize(("group", "answer"), [(group, answer) for group in GROUPS for answer in answers(group)])
def test_an_answer_trains(group, answer, tmp_path):
    needs = []
    if group == "head" and issubclass(HEADS[answer], FittedHead):
        needs = ["regime=frozen", f"model.weights_file={random_weights(tmp_path)}"]
    if answer == "pretrained":
        (tmp_path / "mapping.csv").write_text("class,imagenet\n0,281-285\n1,n02085620\n2,goldfish\n")
        needs.append(f"head.mapping={tmp_path / 'mapping.csv'}")
    if answer == "concepts":
        (tmp_path / "attributes.csv").write_text("class,round,stroke\n0,yes,no\n1,no,yes\n2,0.5,\n")
        needs.append(f"data.attributes={tmp_path / 'attributes.csv'}")
    if answer == "text":
        file = published(tmp_path, {**TIMM, "timm_pool": "token", "timm_proj": ""}, custom_text=True)
        needs = ["regime=frozen", f"model.weights_file={file}", "model.name=timm/test_vit"]
    trained(tmp_path, FAST, f"{group}={answer}", *needs)


@pytest.mark.parametrize("answer", [one.answer for one in shelf() if one.figure("parameters") < TRAINED])
def test_a_network_trains(answer, tmp_path):
    size = LEAST.get(answer, 32)
    _, network = trained(tmp_path, f"model={answer}", f"data.image_size={size}")
    assert network(Inputs(torch.zeros(1, 3, size, size, dtype=torch.uint8))).shape == (1, 3)


@pytest.mark.parametrize("answer", answers("regime"))
def test_a_regime_trains_from_a_file_of_weights(answer, tmp_path):
    file = random_weights(tmp_path)
    weights, overrides = torch.load(file), [FAST, f"regime={answer}", f"model.weights_file={file}"]
    if composed(*overrides).regime.head_epochs:
        overrides.append("regime.head_epochs=1")
    epochs, network = trained(tmp_path, *overrides)
    regime = composed(*overrides).regime
    assert len(epochs) == 1 + regime.head_epochs
    kept = torch.equal(network.state_dict()["backbone.features.0.weight"], weights["features.0.weight"])
    if not regime.head_epochs:  # else the best epoch may be of either stage
        assert kept == (regime.trains == "head")


def test_the_last_blocks_train_from_a_file_of_weights(tmp_path):
    file = random_weights(tmp_path)
    _, network = trained(tmp_path, FAST, "regime=imagenet", f"model.weights_file={file}", "regime.trains=last:2")
    before, after = torch.load(file), network.backbone.state_dict()
    changed = {
        name.partition(".expand")[0].partition(".squeeze")[0]
        for name in after
        if not torch.equal(after[name], before[name])
    }
    assert changed == {"features.10", "features.12"}


def test_a_picture_is_of_the_networks_own_size_where_that_is_asked_for():
    config = composed("model=effnetb3", "regime=scratch", "data.image_size=auto")
    assert with_its_size(config).data.image_size == 300
    assert backbones(config)[0].part(config.data).preprocessing.image_size == 300


def test_the_weights_of_chosen_epochs_are_kept(tmp_path):
    trained(tmp_path, FAST, "trainer.epochs=3", "trainer.keep_epochs=[1,3]")
    facts = read_facts(tmp_path)
    kept = {file.stem: load_network(facts.spec, file).state_dict() for file in tmp_path.glob("*.safetensors")}
    assert set(kept) == {"best", "epoch_1", "epoch_3"}
    first, last = (kept[f"epoch_{number}"]["head.1.weight"] for number in (1, 3))
    assert not torch.equal(first, last)


@pytest.mark.parametrize("regime", ["scratch", "frozen"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_last_says_how_maps_lie_in_memory(channels_last, regime, tmp_path):
    own = [f"regime={regime}", f"model.weights_file={random_weights(tmp_path)}", "trainer.feature_cache_gb=0"]
    config = composed(*SMALL, FAST, *own, f"trainer.channels_last={str(channels_last).lower()}")
    prepared = prepare(config)
    found = set()

    def look(layer, inputs, maps):
        for tensor in (inputs[0], maps):
            found.add(tensor.is_contiguous(memory_format=torch.channels_last))
            found.add(not tensor.is_contiguous())

    prepared.network.backbone.features[0].register_forward_hook(look)
    list(train(config, prepared, tmp_path, Progress()))
    assert found == {channels_last}


@pytest.fixture
def photos(tmp_path):
    chance = np.random.default_rng(0)
    for species in ("ant", "bee", "cat"):
        folder = tmp_path / "photos" / species
        folder.mkdir(parents=True)
        for number in range(10):
            Image.fromarray(chance.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    return tmp_path / "photos"


def test_a_folder_trains(photos, tmp_path):
    trained(tmp_path, FAST, "data=folder", f"data.root={photos}", "regime=scratch", "data.image_size=32")


@pytest.mark.parametrize("answer", answers("data"))
def test_a_data_set_is_composed(answer, tmp_path):
    asked = yaml.safe_load((CONF / "data" / f"{answer}.yaml").read_text())
    wanted = [f"data.{key}={tmp_path}" for key, value in asked.items() if value == "???"]
    config = composed(f"data={answer}", *wanted)
    assert config.data.source
    assert config.tracking.experiment


@pytest.mark.parametrize("answer", answers("experiment"))
def test_an_experiment_is_composed(answer, tmp_path):
    composed(f"experiment={answer}", f"++data.root={tmp_path}")


@pytest.fixture
def shells(photos, tmp_path):
    """The photographs as the cone-shell study lists its own."""
    names = ["ant", "bee", "cat"]
    (tmp_path / "photos" / "classes.txt").write_text("\n".join(names))
    (tmp_path / "photos" / "locations.txt").write_text("EAST\nWEST")
    for split, numbers in (("train", range(8)), ("val", range(8, 10))):
        lines = [
            f"{name}/{number}.jpg {place} {1 + number % 2}" for place, name in enumerate(names) for number in numbers
        ]
        (tmp_path / "photos" / f"{split}.txt").write_text("\n".join(lines))
    return photos


@pytest.mark.parametrize(
    "typed",
    [
        ["experiment=cats_dogs"], ["experiment=birds_study", "regime.views=2"],
        ["experiment=shells", "regime.views=2"],
        ["experiment=shells", "regime.views=2", "data.metadata=[location]", "head.hidden=[8,6]"],
        ["experiment=shells", "regime=imagenet", "regime.backbone_lr=0.1", "regime.batchnorm=free", "regime.views=0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_study_trains_on_a_stand_in(typed, shells, tmp_path):
    from torchvision.models import squeezenet1_0

    torch.save(squeezenet1_0().state_dict(), tmp_path / "weights.pth")
    trained(
        tmp_path, *typed, FAST, f"model.weights_file={tmp_path / 'weights.pth'}", f"data.root={shells}",
        "data.image_size=32", "data.split.val=0.2",
    )  # fmt: skip


@pytest.mark.parametrize("command", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_a_command_is_composed(command):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        config = compose(command)
    missing = [f"{key}=x" for key in OmegaConf.missing_keys(config)]
    assert composed(*missing, command=command)


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_a_choice_says_what_it_is(file):
    """Configuration is the documentation: each file but the plainest has a comment."""
    lines = Path(file).read_text().splitlines()
    assert len(lines) <= 12 or any("#" in line for line in lines) or "hydra" in file.parts


@pytest.mark.parametrize(
    "overrides",
    [
        ["head=mlp", "head.hidden=[8]"],
        ["head=mlp", "head.hidden=[]"],
        ["loss=weighted", "loss.class_weights={0: 2.0, 2: 0.5}"],
        ["loss=focal", "loss.class_weights=balanced"],
        [
            "trainer.precision=fp32",
            "trainer.accumulate=2",
            "trainer.clip_norm=1",
            "trainer.channels_last=false",
        ],
        ["trainer.precision=bf16"],
        ["trainer.batch_size=1"],
        ["data.fit=crop", "data.split.test=0"],
        ["data.classes=[3,5,7]"],
    ],
    ids=" ".join,
)
def test_keys_that_go_together(overrides, tmp_path):
    trained(tmp_path, FAST, *overrides)
