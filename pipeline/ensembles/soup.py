"""Model soup: the mean of several networks' weights, one network in the end.

For runs of one network that started from the same weights, best the same pretrained ones. Wortsman et al.
2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time". Running statistics of batch-norm are averaged with the rest.
"""

from collections.abc import Callable, Mapping

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


def greedy_soup(
    members: Mapping[str, State], score: Callable[[dict[str, torch.Tensor]], float]
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The soup of those members that help: the best first, each kept only if val does not get worse.

    `score` gives a state dict's val accuracy, larger being better. Also gives the names of those kept.
    """
    _check(members)
    scores = {name: score(dict(state)) for name, state in members.items()}
    ranked = sorted(members, key=lambda name: -scores[name])
    kept, best = ranked[:1], scores[ranked[0]]
    for name in ranked[1:]:
        reached = score(soup({one: members[one] for one in [*kept, name]}))
        if reached >= best:
            kept, best = [*kept, name], reached
    return (soup({one: members[one] for one in kept}) if len(kept) > 1 else dict(members[kept[0]])), kept


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
