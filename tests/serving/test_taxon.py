"""What an answer at the rank that is sure says in words."""

import numpy as np

from pipeline.evaluation.depth import Tree
from pipeline.serving.taxon import taxa


def test_why_names_what_was_asked_for_or_that_nothing_was():
    tree, probabilities = Tree.of(["auk", "crane"], None), np.array([[0.9, 0.1]])
    (asked,) = taxa(tree, None, np.array([0]), probabilities, 0.68)
    assert asked.why == "the class itself is sure with 90 % (68 % asked)"
    (not_asked,) = taxa(tree, None, np.array([0]), probabilities, 0.0)  # every answer to val was right
    assert not_asked.why == "the class itself is sure with 90 % (no least asked, as so few of val were wrong)"
