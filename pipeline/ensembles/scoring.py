"""Asking networks about pictures: the one place where a training run, `evaluate`, `predict` and the server do.

What several networks have in common, a way to read pictures or a backbone, is asked once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Reading
from pipeline.data.reading.tta import Views, shown
from pipeline.ensembles.rules import Rule
from pipeline.models.classifier import Classifier, Wants
from pipeline.predictions.predictions import TINY


class Said(NamedTuple):
    """Of n pictures `scores` (n, k) float32, on a processor: logits, or the logarithms of probabilities.

    `features` (n, d) are those of a network that is asked alone and once of each.
    """

    scores: torch.Tensor
    features: torch.Tensor | None = None

    def arrays(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Features, where there are any, and scores as float32."""
        return None if self.features is None else self.features.float().cpu().numpy(), self.scores.numpy()


@torch.inference_mode()
def said_of(
    members: Sequence[Classifier], rule: Rule | None, inputs: Mapping[Wants, Inputs], views: Views = "none"
) -> Said:
    """What networks say of pictures, together.

    `inputs` are the same pictures as each of the members wants them; a single network needs no `rule`.
    Of several test-time `views` the probabilities are averaged. Members are in evaluation mode.
    """
    seen: dict[tuple[torch.nn.Module, Reading], list[Inputs]] = {}
    found = []
    for member in members:
        wants = member.spec.wants
        key = (member.backbone, wants.reading)
        if key not in seen:
            ways = shown(views, inputs[wants], wants.reading.image_size)
            seen[key] = [Inputs(features=member.features(view)) for view in ways]
        found.append(_mean([member(inputs[wants].also(view)).float() for view in seen[key]]).cpu())
    if rule is None:
        ((alone, *others),) = seen.values()
        return Said(found[0], None if others else alone.features)
    together = rule([one.softmax(1).numpy() for one in found])
    return Said(torch.from_numpy(np.log(np.maximum(together, TINY))))


def _mean(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    if len(logits) == 1:
        return logits[0]
    return torch.stack([one.softmax(1) for one in logits]).mean(0).clamp(min=TINY).log()
