"""A tree's ways to classes as rules that can be edited, and read again."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from pipeline.experiment.question_tree import rules_of


def test_what_all_ways_to_a_class_have_in_common():
    shares = np.array([[0.1, 0.5], [0.9, 0.2], [0.9, 0.8], [0.8, 0.8]])
    tree = DecisionTreeClassifier(criterion="entropy", random_state=0).fit(shares, [4, 5, 7, 7])
    found = {rule[:3]: rule.share for rule in rules_of(tree)}
    assert found == pytest.approx(
        {(7, 1, 1): 0.65, (4, 1, -1): 0.65, (5, 1, -1): 0.65, (4, 0, -1): 0.5, (5, 0, 1): 0.5}
    )


def test_a_class_at_both_ends_has_nothing_in_common():
    shares = np.array([[0.1], [0.5], [0.9]])
    assert [rule[:3] for rule in rules_of(DecisionTreeClassifier().fit(shares, [0, 1, 0]))] == [(1, 0, 1), (1, 0, -1)]
