import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.models.backbone import build_backbone
from pipeline.models.published import as_trained
from pipeline.models.sizes import sized

# The networks of conf/model and what each gives at 224 pixels before its classifier.
POOLED = {
    "torchvision/resnet18": 512,
    "torchvision/resnet50": 2048,
    "torchvision/efficientnet_v2_s": 1280,
    "torchvision/efficientnet_b0": 1280,
    "torchvision/efficientnet_b3": 1536,
    "torchvision/alexnet": 9216,
    "torchvision/vgg19": 25088,
    "torchvision/densenet121": 1024,
    "torchvision/mobilenet_v2": 1280,
    "torchvision/squeezenet1_0": 512,
    "timm/legacy_xception": 2048,
    # others, whose classifiers are built in other ways
    "torchvision/mobilenet_v3_small": 576,
    "torchvision/convnext_tiny": 768,
    "torchvision/inception_v3": 2048,
    "torchvision/vit_b_16": 768,
    "timm/resnet18": 512,
}


@pytest.mark.parametrize(("name", "features"), POOLED.items())
def test_features_before_the_classifier(name, features):
    size = 299 if "inception" in name else 224
    assert sized(name, size).features == features


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("torchvision/resnet18", 512 * 49),
        ("torchvision/mobilenet_v2", 1280 * 49),
        ("torchvision/densenet121", 1024 * 49),
        ("timm/legacy_xception", 2048 * 49),
    ],
)
def test_flatten_reads_the_whole_map(name, features):
    assert sized(name, 224, "map").features == features


def test_the_map_pooled_is_what_the_network_pools():
    torch.manual_seed(0)
    pooled = build_backbone("torchvision/densenet121").eval()
    whole = build_backbone("torchvision/densenet121", "map").eval()
    whole.load_state_dict({name: pooled.state_dict()[name] for name in whole.state_dict()})
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(whole(picture).view(1, 1024, 2, 2).mean((2, 3)), pooled(picture))


@pytest.mark.parametrize("name", ["torchvision/resnet81", "timm/resnet81"])
def test_an_unknown_network_is_named_with_the_nearest(name):
    with pytest.raises(BadInput, match=r"no such network; did you mean \w*resnet"):
        build_backbone(name)


def test_a_network_for_something_else_is_said_to_be_that():
    with pytest.raises(BadInput, match=r"fcn_resnet50: that network does not classify pictures \(.* segmentation\)"):
        build_backbone("torchvision/fcn_resnet50")
    assert as_trained("torchvision/fcn_resnet50").image_size == 224  # not known: it is not asked
