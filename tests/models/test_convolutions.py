"""Faster convolutions: the same answers and gradients as without them, in every mode."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pipeline.models.backbone import build_backbone
from pipeline.models.convolutions import speed_up
from pipeline.models.regimes import batchnorms

# batch-norm after each convolution; before it; with its activation inside; and a forward() that cannot be traced
NETWORKS = [
    "torchvision/mobilenet_v2", "torchvision/resnet18", "torchvision/densenet121", "timm/efficientnet_b0",
    "timm/efficientvit_b0", "torchvision/alexnet",
]  # fmt: skip


class _Calls(TorchFunctionMode):
    """Counts the batch-norms and notes the kinds of number that convolutions are computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = 0
        self.convolved: list[tuple[torch.dtype, bool]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.norms += func is nn.functional.batch_norm
        if func is nn.functional.conv2d:
            self.convolved.append((args[0].dtype, torch.is_autocast_enabled("cpu")))
        return func(*args, **(kwargs or {}))


def norms_computed(network: nn.Module, pictures: torch.Tensor) -> int:
    with _Calls() as calls, torch.no_grad():
        network(pictures)
    return calls.norms


def twins(name: str) -> tuple[nn.Module, nn.Module]:
    """A network with batch-norms that have seen something, plain and sped up."""
    torch.manual_seed(0)
    plain, fast = build_backbone(name), build_backbone(name)
    for norm in batchnorms(plain):
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        nn.init.uniform_(norm.running_mean, -0.2, 0.2)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
    fast.load_state_dict(plain.state_dict())
    speed_up(fast)
    return plain, fast


def freeze(network: nn.Module) -> nn.Module:
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout) or type(layer).__name__ in ("StochasticDepth", "DropPath"):
            layer.eval()  # what is left to chance would differ
    for norm in batchnorms(network):
        norm.eval()
    return network


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", [lambda network: network.eval(), freeze], ids=["evaluation", "frozen batch-norm"])
def test_answers_and_gradients_are_the_same(name: str, mode: Callable[[nn.Module], nn.Module]) -> None:
    plain, fast = twins(name)
    pictures = torch.randn(2, 3, 64, 64)
    answers = []
    for network in (plain, fast):
        answers.append(mode(network)(pictures))
        answers[-1].square().mean().backward()
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-3, atol=1e-4 * answers[0].abs().max().item())
    for (weight, expected), found in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if expected.grad is None:
            assert found.grad is None, weight
            continue
        scale = expected.grad.abs().max().item()
        assert found.grad is not None
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-2, atol=2e-3 * scale + 1e-9, msg=weight)


def test_no_pass_of_batch_norm_is_left_where_its_statistics_are_fixed() -> None:
    plain, fast = twins("torchvision/mobilenet_v2")
    pictures = torch.randn(2, 3, 64, 64)
    assert norms_computed(plain.eval(), pictures) == 52
    assert norms_computed(fast.eval(), pictures) == 0
    assert norms_computed(freeze(fast), pictures) == 0
    assert norms_computed(fast.train(), pictures) == 52


def test_timms_norms_keep_their_activations() -> None:
    plain, fast = twins("timm/efficientnet_b0")
    pictures = torch.randn(2, 3, 64, 64)
    assert (norms_computed(plain.eval(), pictures), norms_computed(fast.eval(), pictures)) == (49, 0)
    torch.testing.assert_close(fast(pictures), plain(pictures), rtol=1e-3, atol=1e-4)


def test_free_batch_norm_learns_the_same_statistics() -> None:
    plain, fast = twins("torchvision/mobilenet_v2")
    pictures = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        freeze(plain), freeze(fast)
        for network in (plain, fast):
            for norm in batchnorms(network):
                norm.train()
            network(pictures)
    for (name, expected), found in zip(plain.named_buffers(), fast.buffers(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "timm/efficientnet_b0", "torchvision/convnext_tiny"])
def test_bf16_gradients_are_as_near_to_float32_as_plain_ones(name: str) -> None:
    plain, fast = twins(name)
    pictures = torch.randn(4, 3, 64, 64).to(memory_format=torch.channels_last)

    def gradient(network: nn.Module, *, bf16: bool) -> torch.Tensor:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            answer = freeze(network)(pictures)
        answer.float().square().mean().backward()
        return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])

    exact = gradient(plain, bf16=False)
    error = {
        which: ((gradient(network, bf16=True) - exact).norm() / exact.norm()).item()
        for which, network in (("plain", plain), ("fast", fast))
    }
    assert error["fast"] < 1.25 * error["plain"] + 0.01, error


def test_strided_depthwise_convolutions_train_in_float32_and_answer_in_bf16() -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)).eval()
    speed_up(network)
    maps = torch.randn(2, 8, 9, 9)
    with _Calls() as calls, torch.autocast("cpu", torch.bfloat16):
        assert network(maps.bfloat16()).dtype == torch.bfloat16
        with torch.no_grad():
            assert network(maps.bfloat16()).dtype == torch.bfloat16
    assert calls.convolved == [(torch.float32, False), (torch.bfloat16, True)]


def test_names_stay_and_copies_stand_alone() -> None:
    plain, fast = twins("torchvision/mobilenet_v2")
    assert list(fast.state_dict()) == list(plain.state_dict())
    pictures = torch.randn(1, 3, 64, 64)
    for copied in (copy.deepcopy(fast.eval()), pickle.loads(pickle.dumps(fast.eval()))):
        before = fast(pictures)
        torch.testing.assert_close(copied(pictures), before)
        for weight in copied.parameters():
            nn.init.zeros_(weight)
        torch.testing.assert_close(fast(pictures), before)
        assert not copied(pictures).any()


class _Replaced(nn.BatchNorm2d):
    """A norm of another kind."""


def replace(network: nn.Module, kind: type[nn.Module], by: Callable[[nn.Module], nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer) is kind:
                setattr(parent, name, by(layer))


def like(layer: nn.Module, made: nn.Module) -> nn.Module:
    made.load_state_dict(layer.state_dict())
    return made.train(layer.training)


REPLACEMENTS: dict[str, Callable[[nn.Module], None]] = {
    "batch-norms for all processes": nn.SyncBatchNorm.convert_sync_batchnorm,
    "batch-norms of the same kind": lambda network: replace(
        network, nn.BatchNorm2d, lambda norm: like(norm, nn.BatchNorm2d(norm.num_features))
    ),
    "batch-norms of another kind": lambda network: replace(
        network, nn.BatchNorm2d, lambda norm: like(norm, _Replaced(norm.num_features))
    ),
    "no batch-norms": lambda network: replace(network, nn.BatchNorm2d, lambda _: nn.Identity()),
    "batch-norms with something before them": lambda network: replace(
        network, nn.BatchNorm2d, lambda norm: nn.Sequential(nn.ReLU(), norm)
    ),
    "convolutions": lambda network: replace(
        network,
        nn.Conv2d,
        lambda layer: like(
            layer,
            nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
                groups=layer.groups, bias=layer.bias is not None,
            ),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REPLACEMENTS)
@pytest.mark.parametrize("copied", [False, True], ids=["itself", "its copy"])
def test_layers_may_be_replaced_afterwards(what: str, copied: bool) -> None:
    plain, fast = twins("torchvision/mobilenet_v2")
    if copied:
        fast = copy.deepcopy(fast)
    for network in (plain, fast):
        network.eval()  # what is replaced stays in this mode
        REPLACEMENTS[what](network)
        for norm in batchnorms(network):
            norm.weight.data += 0.1  # what was folded in before would now differ
        network.eval()
    pictures = torch.randn(2, 3, 64, 64)
    expected = plain(pictures)
    torch.testing.assert_close(fast(pictures), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_a_copy_of_a_network_is_as_fast_and_a_copied_part_is_itself() -> None:
    plain, fast = twins("torchvision/mobilenet_v2")
    pictures = torch.randn(2, 3, 64, 64)
    copied = copy.deepcopy(fast.eval())
    assert norms_computed(copied, pictures) == 0
    first, expected = (network.eval().get_submodule("features.0.0") for network in (copied, plain))
    for alone in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert torch.equal(alone(pictures), expected(pictures))
    assert len(pickle.dumps(first)) < 100_000  # without the network that it is in


def test_a_convolution_that_is_read_twice_is_left_as_it_is() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.shared, self.first, self.second = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            found = self.convolution(maps)
            found = found + self.norm(found)
            return self.second(self.shared(self.first(self.shared(found))))

    torch.manual_seed(0)
    plain = Twice().eval()
    for norm in batchnorms(plain):
        norm.running_mean = torch.rand(4)
    fast = copy.deepcopy(plain)
    speed_up(fast)
    pictures = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(fast(pictures), plain(pictures))
    assert norms_computed(fast, pictures) == 3
