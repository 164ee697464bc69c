import pytest

from pipeline.common.errors import BadInput
from pipeline.models.sizes import sized

# Of many families, the small ones; most are for other sizes than 224, which they all take.
FAMILIES = {
    "timm/vit_small_patch14_dinov2": 384, "timm/vit_small_patch14_reg4_dinov2": 384,
    "timm/vit_small_patch16_dinov3": 384, "timm/eva02_tiny_patch14_336": 192,
    "timm/vit_base_patch16_siglip_384": 768, "timm/vit_pe_core_tiny_patch16_384": 192,
    "timm/vit_tiny_patch16_384": 192, "timm/deit_tiny_patch16_224": 192, "timm/xcit_nano_12_p16_384": 128,
    "timm/cait_xxs24_384": 192, "timm/swinv2_tiny_window8_256": 768, "timm/swin_s3_tiny_224": 768,
    "timm/maxvit_rmlp_pico_rw_256": 256, "timm/coatnet_nano_rw_224": 512, "timm/levit_128s": 384,
    "timm/efficientformer_l1": 448, "timm/mobilevit_xxs": 320, "timm/tiny_vit_5m_224": 320,
    "timm/convnextv2_atto": 320, "timm/fastvit_t8": 768, "timm/repvit_m0_9": 384, "timm/poolformer_s12": 512,
    "timm/mixer_s32_224": 512, "timm/gmlp_s16_224": 256, "timm/botnet26t_256": 2048, "timm/hiera_tiny_224": 768,
    "timm/mvitv2_tiny": 768, "timm/davit_tiny": 768, "timm/regnety_002": 368,
    "torchvision/regnet_y_400mf": 440, "torchvision/swin_v2_t": 768, "torchvision/maxvit_t": 512,
    "torchvision/vit_b_16": 768,
}  # fmt: skip


@pytest.mark.parametrize(("name", "features"), FAMILIES.items())
def test_a_network_of_this_family_takes_224_pixels(name, features):
    assert sized(name, 224).features == features


@pytest.mark.parametrize(
    ("name", "size", "works"),
    [
        ("torchvision/alexnet", 32, "63 is the nearest that does"),
        ("torchvision/vit_b_16", 300, "288 and 304 are the nearest that do"),
        ("torchvision/maxvit_t", 256, "224 and 448 are the nearest that do"),
        ("timm/vit_small_patch14_dinov2", 500, "490 and 504 are the nearest that do"),
        ("timm/vit_small_patch16_dinov3", 230, "224 and 240 are the nearest that do"),
    ],
)
def test_a_size_that_does_not_fit_is_told_with_those_that_do(name, size, works):
    with pytest.raises(BadInput, match=rf"data\.image_size={size} does not fit {name}: data\.image_size={works}"):
        sized(name, size)
    for other in filter(str.isdigit, works.split()):
        assert sized(name, int(other))


def test_a_network_that_gives_no_features_does_not_classify():
    options = {"global_pool": ""}
    with pytest.raises(
        BadInput, match=r"model\.name=timm/resnet10t: that network does not classify pictures: it answers"
    ):
        sized("timm/resnet10t", 64, options=options)
