"""A served model as one PyTorch module, of plain tensors alone, which can be converted."""

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Joined, Preprocessing, Reading
from pipeline.ensembles.rules import ClassStack, HardVote, Rule, SharedStack, SoftVote
from pipeline.models.classifier import Classifier
from pipeline.predictions.predictions import TINY
from pipeline.serving.bundle import Bundle


class Whole(nn.Module):
    """Pixels (n, 3, s, s) uint8, one tensor for each of `ways` of seeing a picture, -> logits (n, k), probabilities
    (n, k) at the model's temperature and, of a network that is alone, its features (n, d).

    Of several networks the logits are the logarithms of their probabilities together.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.members = nn.ModuleList(bundle.members)
        self.rule, self.temperature = bundle.rule, bundle.calibration.temperature
        self.ways = ways_of(bundle)

    def forward(self, *pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = dict(zip(self.ways, pixels, strict=True))
        features: dict[tuple[nn.Module, Reading], torch.Tensor] = {}
        found = []
        for member in self.members:
            assert isinstance(member, Classifier)
            how = member.spec.preprocessing
            key = (member.backbone, how)
            if key not in features:
                features[key] = member.features(Inputs(_shown(how, seen)))
            found.append(member(Inputs(features=features[key])).float())
        if self.rule is None:
            return found[0], (found[0] / self.temperature).softmax(1), next(iter(features.values()))
        logits = together(self.rule, [one.softmax(1) for one in found]).clamp(min=TINY).log()
        return logits, (logits / self.temperature).softmax(1)


def ways_of(bundle: Bundle) -> tuple[Preprocessing, ...]:
    """The ways in which a model's networks see pictures, each once."""
    return tuple(dict.fromkeys(part for member in bundle.members for part in member.spec.preprocessing.parts))


def _shown(how: Reading, seen: dict[Preprocessing, torch.Tensor]) -> torch.Tensor:
    """What a network is given, as its way of reading makes it of a picture's pixels."""
    if isinstance(how, Joined):
        return torch.cat([seen[part].flatten(1) for part in how.parts], dim=1)
    return seen[how]


def together(rule: Rule, members: Sequence[torch.Tensor]) -> torch.Tensor:
    """What `pipeline.ensembles.rules` does with arrays, of tensors: M of (n, k) probabilities -> (n, k)."""
    match rule:
        case SoftVote():
            weights = rule.weights or (1.0 / len(members),) * len(members)
            return _weighted(weights, members)
        case HardVote():
            return _voted(members)
        case SharedStack():
            return _weighted(rule.weights, [one.clamp(min=TINY).log() for one in members]).softmax(1)
        case ClassStack():
            given = torch.cat(list(members), dim=1).clamp(min=1e-6).log()
            return (given @ torch.tensor(rule.coefficients).T + torch.tensor(rule.intercepts)).softmax(1)
        case _:
            raise TypeError(f"no conversion of {rule.name}")


def _weighted(weights: Sequence[float], members: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([weight * one for weight, one in zip(weights, members, strict=True)]).sum(0)


def _voted(members: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean probability, in which the vote's winner and the likeliest class change places."""
    size = members[0].shape[1]
    mean = torch.stack(list(members)).mean(0)
    votes = sum(torch.nn.functional.one_hot(one.argmax(1), size) for one in members)
    assert isinstance(votes, torch.Tensor)
    winner = torch.where(votes == votes.amax(1, keepdim=True), mean, -1.0).argmax(1, keepdim=True)
    likeliest = mean.argmax(1, keepdim=True)
    places = torch.arange(size).expand_as(mean)
    swapped = torch.where(places == winner, mean.gather(1, likeliest), mean)
    swapped = torch.where(places == likeliest, mean.gather(1, winner), swapped)
    ahead = 1e-6  # as the rule itself has it
    return swapped * (1 - ahead) + torch.where(places == winner, ahead, 0.0)
