"""Maps of evidence, held against what is known of where it must lie."""

import numpy as np
import pytest
import torch
from small_networks import network

from pipeline.data.batch import Inputs
from pipeline.explaining.methods import evidence, seen
from pipeline.models.heads.logistic import LogisticRegression


def picture(made, corner):
    """One colour, the mean one, but for a corner of noise."""
    pixels = (255 * made.sights[0].mean).expand(1, 3, 64, 64).clone()
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    top, left = corner
    pixels[0, :, top : top + 16, left : left + 16] = torch.from_numpy(noise).float()
    return pixels


def test_gradcam_of_a_linear_head_is_the_weighted_map():
    made = network("timm/test_resnet", side=128)
    pixels = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([2, 0])
    with torch.no_grad():
        maps = made.backbone.forward_features((pixels / 255 - made.mean) / made.std)
    weights = made.head[-1].weight.detach()[codes]
    (found,) = evidence(made, Inputs(pixels), codes)
    expected = (weights[:, :, None, None] * maps).sum(1) / 16
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit"])
@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_evidence_lies_where_the_picture_is(name, method):
    made = network(name)
    for top, left in ((0, 48), (32, 16)):
        (found,) = evidence(made, Inputs(picture(made, (top, left))), torch.tensor([1]), method)
        there = torch.zeros(64, 64)
        reach = 16 if method == "occlusion" else 0  # a window covers its neighbourhood too
        there[max(0, top - reach) : top + 16 + reach, max(0, left - reach) : left + 16 + reach] = 1
        cells = torch.nn.functional.adaptive_avg_pool2d(there[None], 28)[0] > 0
        assert found.abs().sum() > 0
        assert found[0].abs()[cells].sum() / found.abs().sum() > 0.99


def test_the_network_is_left_as_it_was():
    made = network("timm/test_vit").train()
    made.backbone.requires_grad_(False)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    evidence(made, Inputs(picture(made, (0, 0))), torch.tensor([0]))
    assert made.training
    assert {name for name, one in made.named_parameters() if one.requires_grad} == {"head.1.weight", "head.1.bias"}
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert torch.is_grad_enabled()
    assert not any(layer._forward_hooks for layer in made.modules())


@pytest.mark.parametrize("method", ["gradcam", "integrated_gradients", "occlusion"])
def test_of_joined_backbones_each_has_its_map(method):
    made = network("timm/test_resnet", "torchvision/squeezenet1_1")
    row = torch.cat([picture(made, (0, 0)).flatten(1), picture(made, (48, 48)).flatten(1)], dim=1)
    inputs = Inputs(row)
    assert torch.equal(seen(made, inputs)[1], picture(made, (48, 48)))
    found = evidence(made, inputs, torch.tensor([0]), method)
    assert [one.shape[-1] for one in found] == ([4, 7] if method == "gradcam" else [28, 28])
    if method == "integrated_gradients":
        assert found[0][0, 14:].abs().sum() < 0.01 * found[0].abs().sum()
        assert found[1][0, :14].abs().sum() < 0.01 * found[1].abs().sum()


def test_a_feature_of_nothing_has_a_slope():
    head = LogisticRegression(3, 2)
    head.rooted.fill_(True)
    features = torch.tensor([[0.0, 0.25, 4.0]], requires_grad=True)
    head(features)[0, 0].backward()
    assert features.grad[0, 0] == 0
    assert features.grad[0, 1] == pytest.approx(float(head.linear.weight[0, 1].detach()))
