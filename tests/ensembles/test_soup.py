import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.ensembles.soup import soup


def state(value, steps=3):
    return {
        "weight": torch.full((2, 3), float(value)),
        "half": torch.tensor([value], dtype=torch.bfloat16),
        "steps": torch.tensor(steps),
    }


def test_a_soup_is_the_mean_in_each_tensors_own_type():
    mixed = soup({"a": state(1), "b": state(2), "c": state(6)})
    torch.testing.assert_close(mixed["weight"], torch.full((2, 3), 3.0))
    assert mixed["half"].dtype == torch.bfloat16
    assert mixed["steps"] == 3


def test_a_soup_of_the_same_is_the_same_network():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    mixed = soup({"a": network.state_dict(), "b": network.state_dict()})
    network.load_state_dict(mixed)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, mixed[name])


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"weight": torch.zeros(2, 4)}, r"b is not the network of a \(weight: \(2, 4\), not \(2, 3\)\)"),
        ({"extra": torch.zeros(1)}, r"extra: \(1,\), not missing"),
        ({"weight": torch.full((2, 3), torch.nan)}, "b holds values in weight that are no numbers"),
    ],
)
def test_what_cannot_be_mixed_is_named(other, match):
    with pytest.raises(BadInput, match=match):
        soup({"a": state(1), "b": {**state(1), **other}})


def test_a_soup_of_one():
    with pytest.raises(BadInput, match="at least two"):
        soup({"a": state(1)})
