import pytest

from pipeline.common.errors import BadInput
from pipeline.models.backbone import build_backbone, without_memory
from pipeline.models.blocks import blocks, parameters_below


@pytest.mark.parametrize(
    ("name", "number", "last"),
    [
        ("torchvision/resnet18", 9, "layer4.1"),
        ("torchvision/mobilenet_v2", 19, "features.18"),
        ("torchvision/densenet121", 8, "features.denseblock4"),
        ("torchvision/vit_b_16", 13, "encoder.layers.encoder_layer_11"),
        ("torchvision/vgg11_bn", 8, "features.25"),
        ("timm/vit_small_patch14_dinov2", 13, "blocks.11"),
        ("timm/convnextv2_tiny", 19, "stages.3.blocks.2"),
        ("timm/tf_efficientnet_lite0", 17, "blocks.6.0"),
        ("timm/inception_v3", 13, "Mixed_7c"),
    ],
)
@pytest.mark.parametrize("features", ["pooled", "map"])
def test_blocks_are_the_networks_own_and_hold_all_of_it(name, number, last, features):
    if features == "map" and name.startswith("torchvision"):
        pytest.skip("its layers have the same names")
    backbone = without_memory(lambda: build_backbone(name, features))
    found = blocks(backbone)
    assert (len(found), found[-1].name) == (number, last)
    all_of_it = {name for name, _ in backbone.named_parameters()}
    assert sum(len(block.parameters) for block in found) == len(all_of_it)
    below = parameters_below(backbone, "last:1")
    assert below < all_of_it
    assert len(all_of_it - below) == len(found[-1].parameters)


def test_more_blocks_than_there_are_is_refused_with_their_number():
    backbone = without_memory(lambda: build_backbone("torchvision/resnet18"))
    assert parameters_below(backbone, "last:9") == set()
    with pytest.raises(BadInput, match=r"regime\.trains=last:99: the network has 9 blocks"):
        parameters_below(backbone, "last:99")
