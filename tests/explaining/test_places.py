"""The layer to look at, in networks of many families, as small as timm has them."""

import pytest
import torch
from small_networks import network

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.explaining.methods import evidence
from pipeline.explaining.places import Grid, places


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("timm/test_resnet", Grid(4)),
        ("timm/test_convnext", Grid(4)),
        ("torchvision/squeezenet1_1", Grid(7)),
        ("timm/test_vit", Grid(4, prefix=1)),  # its class token answers: the map before the last block
        ("timm/test_vit3", Grid(4, prefix=1)),  # pools by attention
        ("timm/swinv2_cr_tiny_224", Grid(4)),
    ],
)
def test_every_family_keeps_a_map(name, grid):
    made = network(name, side=128 if "swin" in name else 64)
    (place,) = places(made)
    assert place.grid == grid
    assert places(made)[0] is place


def test_tokens_become_a_map_and_come_back():
    tokens = torch.arange(2 * 18 * 3).float().view(2, 18, 3)
    grid = Grid(4, prefix=2)
    mapped = grid.to_map(tokens)
    assert mapped[1, 2, 3, 0] == tokens[1, 2 + 3 * 4 + 0, 2]
    assert torch.equal(grid.back(mapped, tokens), tokens)


def test_a_joined_network_has_one_for_each_of_its_backbones():
    assert [place.grid.side for place in places(network("timm/test_resnet", "torchvision/squeezenet1_1"))] == [4, 7]


def test_what_keeps_no_map_is_told_what_works():
    made = network("torchvision/resnet18", side=4)
    with pytest.raises(BadInput, match=r"^torchvision/resnet18 at 4 pixels keeps no map .*method=occlusion works"):
        places(made)


@pytest.mark.parametrize("method", ["gradcam", "integrated_gradients"])
def test_a_head_without_gradient_is_told_what_works(method):
    made = network("timm/test_resnet", head="sklearn", estimator="GaussianNB")
    chance = torch.Generator().manual_seed(0)
    made.head.fit(torch.randn(9, made.n_features, generator=chance), torch.arange(9) % 3)
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=chance)
    with pytest.raises(BadInput, match=r"^head=sklearn does not say how .*method=occlusion works"):
        evidence(made, Inputs(pixels), torch.tensor([1]), method)
    assert evidence(made, Inputs(pixels), torch.tensor([1]), "occlusion")[0].shape == (1, 28, 28)
