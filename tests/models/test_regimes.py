import pytest
import torch
from torch.nn import functional

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.regimes import Phase, enter, parameter_groups, set_training

PICTURES = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Classifier(NetworkSpec("torchvision/resnet18", 3, Preprocessing(image_size=32)))


def after_a_step(network, phase):
    """Names of tensors that one step in this phase changed."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    enter(network, phase)
    set_training(network, phase)
    optimizer = torch.optim.SGD(parameter_groups(network, phase, lr=0.1, weight_decay=0.0))
    functional.cross_entropy(network(Inputs(PICTURES)), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def test_head_alone_leaves_the_backbone_to_the_last_bit(network):
    assert after_a_step(network, Phase("head")) == {"head.1.weight", "head.1.bias"}


def test_frozen_batchnorm_keeps_statistics_and_weights(network):
    changed = after_a_step(network, Phase("all", batchnorm="frozen"))
    norms = {name for name in network.state_dict() if "bn" in name or "downsample.1" in name}
    assert not changed & norms
    assert "backbone.conv1.weight" in changed


def test_free_batchnorm_moves(network):
    changed = after_a_step(network, Phase("all"))
    assert {"backbone.bn1.running_mean", "backbone.bn1.weight"} <= changed


def test_the_backbones_rate_is_a_share_of_the_heads_and_norms_do_not_decay(network):
    phase = Phase("all", backbone_lr=0.2)
    enter(network, phase)
    groups = parameter_groups(network, phase, lr=1.0, weight_decay=0.5)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (1.0, 0.5),
        (1.0, 0.0),
        (0.2, 0.5),
        (0.2, 0.0),
    ]
    assert all(parameter.ndim > 1 for group in groups if group["weight_decay"] for parameter in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_a_head_that_trains_alone_may_learn_faster(network):
    phase = Phase("head", head_lr=10)
    enter(network, phase)
    assert {group["lr"] for group in parameter_groups(network, phase, lr=0.5, weight_decay=0)} == {5.0}


def test_a_spec_survives_json(network):
    import json

    spec = NetworkSpec(
        "timm/resnet18", 5, Preprocessing(image_size=64), HeadSpec("mlp", {"hidden": [8, 4], "dropout": 0.1})
    )
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [("torchvision/alexnet", 224, 94_639_696), ("torchvision/efficientnet_b0", 224, 16_817_548)],
)
def test_parameters_of_the_species_studys_tables(name, size, parameters):
    with torch.device("meta"):
        network = Classifier(NetworkSpec(name, 10_000, Preprocessing(image_size=size)))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("batchnorm", ["free", "frozen"])
def test_the_last_blocks_train_and_what_is_below_stays_to_the_last_bit(network, batchnorm):
    changed = after_a_step(network, Phase("last:2", batchnorm=batchnorm))
    of_norms = {name for name in changed if "running" in name}
    assert {name.split(".layer4.")[0] for name in changed if name.startswith("backbone.")} == {"backbone"}
    assert {"backbone.layer4.0.conv1.weight", "backbone.layer4.1.conv2.weight", "head.1.weight"} <= changed
    assert bool(of_norms) == (batchnorm == "free")


def test_dropout_below_the_blocks_that_train_is_off():
    torch.manual_seed(0)
    spec = NetworkSpec("timm/convnextv2_atto", 3, Preprocessing(image_size=32), options={"drop_path_rate": 0.5})
    network = Classifier(spec)
    set_training(network, Phase("last:2"))
    dropping = [name for name, layer in network.backbone.named_modules() if "drop_path" in name and layer.training]
    assert dropping
    assert all(name.startswith(("stages.3.blocks.0", "stages.3.blocks.1")) for name in dropping)
