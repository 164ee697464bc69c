"""Ways of voting as tensors, beside those of arrays."""

import numpy as np
import pytest
import torch

from pipeline.ensembles.rules import ClassStack, HardVote, SharedStack, SoftVote
from pipeline.exporting.network import together

CHANCE = np.random.default_rng(0)


@pytest.mark.parametrize(
    "rule",
    [
        HardVote(),
        SoftVote(),
        SoftVote((0.5, 0.0, 0.5)),
        SharedStack((0.7, 0.0, 0.6)),
        ClassStack(tuple(map(tuple, CHANCE.normal(size=(4, 12)).tolist())), (0.1, 0.0, -0.2, 0.3)),
    ],
    ids=lambda rule: rule.name,
)
def test_a_rule_of_tensors_is_that_of_arrays(rule):
    members = [CHANCE.dirichlet(np.full(4, 0.5), size=50).astype(np.float32) for _ in range(3)]
    found = together(rule, [torch.from_numpy(one) for one in members])
    np.testing.assert_allclose(found, rule(members), atol=1e-6)
