"""Backbones: networks of torchvision and timm, by name, up to the features that a head reads.

Layers keep the names that they have in the published weights, so those load as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

import torch
from torch import nn

from pipeline.common.errors import BadInput, did_you_mean

# What the classifier gets, the feature map before its pooling, or what the network's own classifier answers.
Features = Literal["pooled", "map", "answers"]
Module = TypeVar("Module", bound=nn.Module)
# Their second classifier, and a change of the input, belong to old recipes of training.
_INCEPTIONS: dict[str, dict[str, Any]] = {
    "inception_v3": {"aux_logits": False, "transform_input": False, "init_weights": False},
    "googlenet": {"aux_logits": False, "transform_input": False, "init_weights": False},
}


def build_backbone(name: str, features: Features = "pooled", options: Mapping[str, Any] | None = None) -> nn.Module:
    """A network without its classifier, randomly initialised: (n, 3, s, s) float -> (n, features).

    `name` is `torchvision/NAME` or `timm/NAME`, `options` are arguments of that library's own for it (its `img_size`,
    say). `features="pooled"` keeps the network's own pooling and flattening (9,216 features for alexnet at 224 pixels);
    `"map"` flattens the map before the pooling; with `"answers"` the classifier is there too, and its logits are the
    features. Raises BadInput for a name that the library does not have, TypeError
    for options that the network does not know.
    """
    library, _, network = name.partition("/")
    if library == "timm":
        return _timm_backbone(network, features, options or {})
    return _torchvision_backbone(network, features, options or {})


def without_memory(build: Callable[[], Module]) -> Module:
    """What `build` builds, on PyTorch's device `meta`: shapes alone, no numbers."""
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:  # some reckon their widths with tensors, which takes numbers
        return build().to("meta")


def without_wrapping(backbone: nn.Module) -> nn.Module:
    """The library's own network in a backbone, whose layers have their published names."""
    return backbone[0] if isinstance(backbone, nn.Sequential) and isinstance(backbone[-1], nn.Flatten) else backbone


def _timm_backbone(name: str, features: Features, options: Mapping[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise BadInput(f"model.name=timm/{name}: timm has no such network{did_you_mean(name, timm.list_models())}")
    if features == "answers":
        return timm.create_model(name, **options)
    if features == "pooled":
        return timm.create_model(name, num_classes=0, **options)
    return nn.Sequential(timm.create_model(name, num_classes=0, global_pool="", **options), nn.Flatten())


def _torchvision_backbone(name: str, features: Features, options: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        if name in models.list_models():
            raise BadInput(
                f"model.name=torchvision/{name}: that network does not classify pictures (it is one of "
                f"{models.get_model_builder(name).__module__.rpartition('.models.')[2].partition('.')[0]}); take one "
                f"that does, such as torchvision/resnet50"
            )
        raise BadInput(f"model.name=torchvision/{name}: torchvision has no such network{did_you_mean(name, known)}")
    network = models.get_model(name, weights=None, **_INCEPTIONS.get(name, {}), **options)
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
