"""The ways to ask a network where in a picture the evidence for a class lies, by captum."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Joined
from pipeline.explaining.places import Place, as_it_is, check_gradient, places
from pipeline.models.classifier import Classifier

Method = Literal["gradcam", "integrated_gradients", "occlusion"]
_CELLS = 28  # a side, of maps that are made of pixels
_STEPS = 32  # from no picture to the picture
_WINDOWS, _AT_ONCE = 8, 16  # steps a side that what is covered moves in; pictures that are asked together

# Maps (n, h, w) of the evidence for the classes (n,), one tensor for each of the network's sights.
Maps = list[torch.Tensor]


def evidence(network: Classifier, inputs: Inputs, codes: torch.Tensor, method: Method = "gradcam") -> Maps:
    """Where in n pictures, as the network reads them, the evidence for the classes `codes` (n,) lies: above 0 for it.

    `gradcam` (Selvaraju et al. 2017): the last map of the network, each channel weighted by how much the class's logit
    rises with its mean. `integrated_gradients` (Sundararajan et al. 2017): what each pixel adds to the logit on the way
    from a picture of the mean colour; summed up in cells. `occlusion` (Zeiler and Fergus 2014): by how much the logit
    falls where a window, a quarter of the picture a side, shows that colour.
    Raises BadInput where the network has nothing that the method looks at.
    """
    assert inputs.pixels is not None
    with as_it_is(network):
        return _METHODS[method](network, inputs, codes)


def _gradcam(network: Classifier, inputs: Inputs, codes: torch.Tensor) -> Maps:
    from captum.attr import LayerGradCam

    found = []
    for place in places(network):
        seen = nn.Identity()

        def scores(_: torch.Tensor, place: Place = place, seen: nn.Module = seen) -> torch.Tensor:
            with torch.no_grad(), _gradients_from(place, seen):
                return network(inputs)

        asked = codes.new_zeros((len(codes), 1), dtype=torch.float32)  # captum counts pictures by it
        found.append(LayerGradCam(scores, seen).attribute(asked, target=codes)[:, 0].detach())
    return found


@contextmanager
def _gradients_from(place: Place, seen: nn.Module) -> Iterator[None]:
    """What a layer gives passes through `seen` as a map, and only from there on does PyTorch keep what gradients need:
    they are not wanted below, where most of the network is.
    """  # fmt: skip

    def look(_: nn.Module, __: object, out: torch.Tensor) -> torch.Tensor:
        torch.set_grad_enabled(True)
        mapped = seen(place.grid.to_map(out).detach().requires_grad_())
        return place.grid.back(mapped, out).clone()  # what follows may work in place

    hook = place.layer.register_forward_hook(look)
    try:
        yield
    finally:
        hook.remove()


def _integrated_gradients(network: Classifier, inputs: Inputs, codes: torch.Tensor) -> Maps:
    from captum.attr import IntegratedGradients

    pictures, grounds, scores = _by_sight(network, inputs)
    with torch.enable_grad():
        one = tuple(some[:1].clone().requires_grad_() for some in pictures)
        check_gradient(network, scores(*one, *inputs.take(slice(0, 1))))
    found = IntegratedGradients(scores).attribute(
        pictures, grounds, target=codes, additional_forward_args=tuple(inputs), n_steps=_STEPS,
        internal_batch_size=max(_AT_ONCE, len(codes)),
    )  # fmt: skip
    return [_in_cells(one.detach().sum(1)) for one in found]


def _occlusion(network: Classifier, inputs: Inputs, codes: torch.Tensor) -> Maps:
    from captum.attr import Occlusion

    pictures, grounds, scores = _by_sight(network, inputs)
    steps = [max(1, one.shape[-1] // _WINDOWS) for one in pictures]
    with torch.no_grad():
        found = Occlusion(scores).attribute(
            pictures, tuple((3, 2 * step, 2 * step) for step in steps), tuple((3, step, step) for step in steps),
            grounds, target=codes, additional_forward_args=tuple(inputs),
            perturbations_per_eval=max(1, _AT_ONCE // len(codes)),
        )  # fmt: skip
    return [_in_cells(one[:, 0].float()) for one in found]


_METHODS: dict[str, Callable[[Classifier, Inputs, torch.Tensor], Maps]] = {
    "gradcam": _gradcam, "integrated_gradients": _integrated_gradients, "occlusion": _occlusion,
}  # fmt: skip


def _by_sight(network: Classifier, inputs: Inputs) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...], Any]:
    """What each sight is shown, (n, 3, s, s) float; the mean colour, as its ground; and what gives scores of these.

    After the pictures, `scores` takes the fields of `Inputs`, so that captum repeats them as it repeats pictures.
    """
    pictures = [one.float() for one in seen(network, inputs)]
    grounds = [
        255 * sight.mean.expand(len(one), 3, *one.shape[2:])
        for sight, one in zip(network.sights, pictures, strict=True)
    ]

    def scores(*given: Any) -> torch.Tensor:
        shown, others = given[: len(pictures)], Inputs(*given[len(pictures) :])
        pixels = shown[0] if len(shown) == 1 else torch.cat([one.flatten(1) for one in shown], dim=1)
        return network(others._replace(pixels=pixels))

    return tuple(pictures), tuple(grounds), scores


def seen(network: Classifier, inputs: Inputs) -> Sequence[torch.Tensor]:
    """The pictures (n, 3, s, s) as each of a network's sights sees them."""
    assert inputs.pixels is not None
    how = network.spec.preprocessing
    return how.split(inputs.pixels) if isinstance(how, Joined) else [inputs.pixels]


def _in_cells(found: torch.Tensor) -> torch.Tensor:
    """Maps of pixels (n, s, s) as the means of larger cells, which is what can be seen."""
    return adaptive_avg_pool2d(found[:, None], min(_CELLS, found.shape[-1]))[:, 0]
