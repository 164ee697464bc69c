"""What comes beside a picture, joined to its features: what a head is given."""

import torch
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.data.beside.kind import Kind
from pipeline.data.beside.registry import Beside

USUAL_SCALE = 10.0
SCALES = (1.0, 2.0, 5.0, USUAL_SCALE, 20.0, 40.0, 80.0)


class Join(nn.Module):
    """Features (n, f) and `Inputs` -> (n, f + width): what is known beside the picture stands after its features.

    It is `scale` times as large as the features vary (`size`; 0: not measured yet): numbers of size 1 beside a
    thousand features are not heard. Pictures of which nothing is known count `dropout` in training, so that they are
    answered too; and of several values each is hidden so often.
    """

    size: torch.Tensor
    scale: torch.Tensor

    def __init__(self, beside: Beside) -> None:
        super().__init__()
        self.beside, self.width, self.dropout = beside, sum(kind.width for kind in beside), 0.0
        self.register_buffer("size", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def measure(self, features: torch.Tensor) -> None:
        """Take how much features (n, f) vary as the size of what is joined to them."""
        self.size.fill_(float(features.float().std(0, correction=0).square().mean().sqrt()) or 1.0)

    def forward(self, features: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        return torch.cat([features, self.size * self.scale * self.codes(inputs, features)], dim=1)

    def codes(self, inputs: Inputs, beside: torch.Tensor) -> torch.Tensor:
        """(n, width), of size 1, of n pictures `beside` (n, ...) which they are to stand."""
        return torch.cat([kind.codes(self._known(kind, inputs, beside)) for kind in self.beside], dim=1)

    def _known(self, kind: Kind, inputs: Inputs, beside: torch.Tensor) -> torch.Tensor:
        known: torch.Tensor | None = getattr(inputs, kind.name)
        if known is None:
            return beside.new_full((len(beside), kind.depth), torch.nan, dtype=torch.float32)
        if not self.training or not self.dropout or known.shape[1] == 1:
            return known
        return known.masked_fill(torch.rand(known.shape, device=known.device) < self.dropout, torch.nan)
