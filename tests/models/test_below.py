import pytest
import torch
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.below import cut
from pipeline.models.classifier import NetworkSpec, build_classifier
from pipeline.models.regimes import Phase, enter, set_training
from pipeline.models.sight import Part

CHANNELS_LAST = torch.channels_last


def network(name, side=64):
    torch.manual_seed(0)
    part = Part(name, Preprocessing(image_size=side), {"img_size": side} if "vit" in name else {})
    return build_classifier(NetworkSpec.of([part], 3, NetworkSpec("", 3, part.preprocessing).head)).to(
        memory_format=CHANNELS_LAST
    )


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("torchvision/mobilenet_v2", 160 * 2 * 2),
        ("torchvision/resnet18", 256 * 4 * 4),
        ("timm/vit_tiny_patch16_224", 17 * 192),
        ("timm/vit_small_patch16_dinov3", 21 * 384),  # positions cross the cut too, and are those of every picture
        ("timm/convnextv2_atto", 160 * 4 * 4),
        ("timm/cs3darknet_focus_s", 256 * 4 * 4),
    ],
)
def test_both_parts_together_say_what_the_network_says_and_learn_as_it_does(name, width):
    whole, phase = network(name), Phase("last:2", batchnorm="frozen")
    enter(whole, phase)
    state = {key: value.clone() for key, value in whole.state_dict().items()}
    below = cut(whole, phase, CHANNELS_LAST)
    assert below is not None
    assert below.n_features == width
    assert 0.3 < below.share < 1
    pictures = Inputs(torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8)).to(torch.device("cpu"), CHANNELS_LAST)
    with torch.no_grad():
        rows = below.eval().features(pictures)
    gradients = []
    for inputs in (pictures, Inputs(below=rows)):
        set_training(whole, phase)
        whole.zero_grad()
        whole.above = below.above
        torch.manual_seed(0)
        whole(inputs).square().sum().backward()
        gradients.append({key: one.grad for key, one in whole.named_parameters() if one.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(one, gradients[1][key]) for key, one in gradients[0].items())
    assert all(torch.equal(value, state[key]) for key, value in whole.state_dict().items())
    assert whole.state_dict().keys() == state.keys()


class Odd(nn.Module):
    """A network whose lower part is not cut off: `how` it is."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        wide = 8 if how == "across" else 4
        self.first, self.drop, self.last = nn.Linear(12, wide), nn.Dropout(0.5), nn.Linear(4, 4)

    def forward(self, pictures):
        if self.how == "asks":
            pictures = pictures if pictures.sum() > 0 else -pictures
        found = self.first(pictures.flatten(1))
        if self.how == "chance":
            found = self.drop(found)
        if self.how == "mode" and self.training:
            found = found * 2
        return self.last(found.reshape(-1, 4))  # no longer a row a picture, where there are 8 of each


@pytest.mark.parametrize("how", ["asks", "chance", "mode", "across"])
def test_what_says_another_thing_each_time_or_cannot_be_looked_into_is_not_cut(how):
    whole = network("torchvision/squeezenet1_1", 32)
    whole.backbone = Odd(how)
    whole.parts = (Part("odd", Preprocessing(image_size=2)),)
    before = torch.random.get_rng_state()
    assert cut(whole, Phase("last:1"), torch.contiguous_format) is None
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_of_which_all_trains_has_nothing_below():
    assert cut(network("torchvision/squeezenet1_1", 32), Phase("all"), CHANNELS_LAST) is None
