"""Model soup: the mean of several networks' weights, one network in the end.

For runs of one network that started from the same weights, best the same pretrained ones. Wortsman et al.
2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time". Running statistics of batch-norm are averaged with the rest.
"""

from collections.abc import Mapping

import torch

from pipeline.common.errors import BadInput

State = Mapping[str, torch.Tensor]


def soup(members: Mapping[str, State]) -> dict[str, torch.Tensor]:
    """The mean of the members' state dicts, by name, each tensor in its own type.

    Floating tensors are averaged in float64; others (counters) are the first member's. Raises BadInput,
    naming the member and the first tensor, where names or shapes differ or a value is not finite.
    """
    _check(members)
    states = list(members.values())
    return {name: _mean([state[name] for state in states]) for name in states[0]}


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return first.clone()
    total = torch.zeros_like(first, dtype=torch.float64)
    for tensor in tensors:
        total += tensor
    return (total / len(tensors)).to(first.dtype)


def _check(members: Mapping[str, State]) -> None:
    if len(members) < 2:
        raise BadInput("a soup takes at least two runs of one network: choose more")
    (first_name, first), *others = members.items()
    for name, state in others:
        for tensor in [*first, *state]:
            shapes = [tuple(one[tensor].shape) if tensor in one else "missing" for one in (first, state)]
            if shapes[0] != shapes[1]:
                raise BadInput(
                    f"{name} is not the network of {first_name} ({tensor}: {shapes[1]}, not {shapes[0]}): "
                    "a soup takes runs of one network"
                )
    for name, state in members.items():
        for tensor, values in state.items():
            if values.is_floating_point() and not torch.isfinite(values).all():
                raise BadInput(f"{name} holds values in {tensor} that are no numbers: leave that run out")
