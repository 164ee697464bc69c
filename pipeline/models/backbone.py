"""Backbones: networks of torchvision and timm, by name, up to the features that a head reads.

Layers keep the names that they have in the published weights, so those load as they are.
"""

from functools import cache
from typing import Any, Literal, cast

import torch
from torch import nn

from pipeline.common.errors import BadInput, did_you_mean

# What the classifier gets, the feature map before its pooling, or what the network's own classifier answers.
Features = Literal["pooled", "map", "answers"]
# Their second classifier, and a change of the input, belong to old recipes of training.
_INCEPTIONS: dict[str, dict[str, Any]] = {
    "inception_v3": {"aux_logits": False, "transform_input": False, "init_weights": False},
    "googlenet": {"aux_logits": False, "transform_input": False, "init_weights": False},
}


def build_backbone(name: str, features: Features = "pooled") -> nn.Module:
    """A network without its classifier, randomly initialised: (n, 3, s, s) float -> (n, features).

    `name` is `torchvision/NAME` or `timm/NAME`. `features="pooled"` keeps the network's own pooling and
    flattening (9,216 features for alexnet at 224 pixels); `"map"` flattens the map before the pooling; of `"answers"`
    the classifier is there too, and its logits are the features.
    Raises BadInput for a name that the library does not have.
    """
    library, _, network = name.partition("/")
    if library == "timm":
        return _timm_backbone(network, features)
    return _torchvision_backbone(network, features)


def _timm_backbone(name: str, features: Features) -> nn.Module:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise BadInput(f"model.name=timm/{name}: timm has no such network{did_you_mean(name, timm.list_models())}")
    if features == "answers":
        return timm.create_model(name)
    if features == "pooled":
        return timm.create_model(name, num_classes=0)
    return nn.Sequential(timm.create_model(name, num_classes=0, global_pool=""), nn.Flatten())


def _torchvision_backbone(name: str, features: Features) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise BadInput(f"model.name=torchvision/{name}: torchvision has no such network{did_you_mean(name, known)}")
    network = models.get_model(name, weights=None, **_INCEPTIONS.get(name, {}))
    if features == "answers":
        return network
    if features == "map":
        return _without_pooling(name, network)
    for attribute in ("fc", "classifier", "head", "heads"):
        if hasattr(network, attribute):
            setattr(network, attribute, _up_to_features(getattr(network, attribute)))
            return network
    raise BadInput(f"model.name=torchvision/{name}: where its classifier begins is not known; try timm/{name}")


def _up_to_features(classifier: nn.Module) -> nn.Module:
    """What of a classifier still pools or flattens: everything up to the flattening, or the pooling alone."""
    if not isinstance(classifier, nn.Sequential):
        return nn.Identity()
    layers = list(classifier)
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Flatten):
            return nn.Sequential(*layers[: place + 1])
    pools = [layer for layer in layers if isinstance(layer, nn.AdaptiveAvgPool2d)]
    return nn.Sequential(*pools) if pools else nn.Identity()


def _without_pooling(name: str, network: nn.Module) -> nn.Module:
    if hasattr(network, "features"):
        # densenet's last activation stands in its forward(), not among its layers
        last = [nn.ReLU()] if name.startswith("densenet") else []
        return _Map(cast("nn.Module", network.features), *last)
    if hasattr(network, "avgpool") and hasattr(network, "fc"):
        network.avgpool, network.fc = nn.Identity(), nn.Identity()
        return network
    raise BadInput(f"head=flatten: the feature map of torchvision/{name} is not known; use head=linear")


class _Map(nn.Module):
    """The layers under `features`, by that name, flattened."""

    def __init__(self, features: nn.Module, *last: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.last = nn.Sequential(*last, nn.Flatten())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.last(self.features(pictures))


@cache
def feature_count(name: str, image_size: int, features: Features = "pooled") -> int:
    """How many features a picture of this side gives. Costs no memory: shapes alone are computed.

    Raises BadInput, with the least side that works, where the picture is too small for the network.
    """
    with torch.device("meta"):
        backbone = build_backbone(name, features).eval()
    count = _count(backbone, image_size)
    if count is None:
        least = next((size for size in range(image_size + 1, 1025) if _count(backbone, size)), None)
        remedy = f"data.image_size={least} is the least that works" if least else "no size up to 1024 works"
        raise BadInput(f"data.image_size={image_size} does not fit {name}: {remedy}")
    return count


def _count(backbone: nn.Module, image_size: int) -> int | None:
    try:
        with torch.no_grad():
            out = backbone(torch.empty(1, 3, image_size, image_size, device="meta"))
    except (RuntimeError, ValueError, AssertionError):
        return None
    return int(out.shape[1]) if out.ndim == 2 and out.shape[1] else None
