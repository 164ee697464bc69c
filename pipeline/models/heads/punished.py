"""A linear layer that scikit-learn does not fit: beside logits that are there already, or punished for its reasons."""

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy, linear

from pipeline.models.heads.fitted import usual_scale

_STEPS, _FLAT = 100, 1e-3
# (n_classes, p) weights -> (n,): what each picture's loss is more by for them.
Punishment = Callable[[torch.Tensor], torch.Tensor]


def fit_layer(
    values: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor, strength: float, begin: torch.Tensor,
    *, beside: torch.Tensor | float = 0.0, punishment: Punishment | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Weights (n_classes, p) and bias (n_classes,) of L2 logistic regression on standardised values (n, p), by L-BFGS.

    It begins from weights `begin`. `strength` is scikit-learn's `C`; `beside` (n, n_classes) are logits that its own
    are added to.
    """
    mean, scale = (found.float() for found in usual_scale(values))
    standard = (values - mean) / scale
    weight = (begin * scale).detach().clone().requires_grad_()
    bias = torch.zeros(len(begin), requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_grad=_FLAT, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        solver.zero_grad()
        each = cross_entropy(beside + linear(standard, weight, bias), labels, reduction="none")
        if punishment:
            each = each + punishment(weight / scale)
        total = (counts * each).sum() + weight.square().sum() / (2 * strength)
        torch.autograd.backward(total)
        return float(total.detach())

    with torch.enable_grad():
        solver.step(loss)  # type: ignore[no-untyped-call]  # PyTorch's is without types
    found = weight.detach() / scale
    return found, bias.detach() - found @ mean
