"""A tree's ways to classes as rules that can be edited, and read again."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from pipeline.data.rules import read_rules
from pipeline.experiment.question_tree import rules_of


def test_what_all_ways_to_a_class_have_in_common():
    shares = np.array([[0.1, 0.5], [0.9, 0.2], [0.9, 0.8], [0.8, 0.8]])
    tree = DecisionTreeClassifier(criterion="entropy", random_state=0).fit(shares, [4, 5, 7, 7])
    found = {rule[:3]: rule.share for rule in rules_of(tree)}
    assert found == pytest.approx(
        {(7, 1, 1): 0.65, (4, 1, -1): 0.65, (5, 1, -1): 0.65, (4, 0, -1): 0.5, (5, 0, 1): 0.5}, abs=0.0011
    )


def test_a_class_at_both_ends_has_nothing_in_common():
    shares = np.array([[0.1], [0.5], [0.9]])
    assert [rule[:3] for rule in rules_of(DecisionTreeClassifier().fit(shares, [0, 1, 0]))] == [(1, 0, 1), (1, 0, -1)]


def test_what_is_narrow_can_be_put_back(tmp_path):
    tree = DecisionTreeClassifier().fit([[0.1], [0.5008], [0.5011], [0.5014]], [0, 1, 2, 1])
    file = tmp_path / "rules.csv"
    lines = [f"{one.label},round,{one.kind}" for one in rules_of(tree)]
    file.write_text("\n".join(["class,attribute,rule", *lines]))
    assert [one.kind for one in read_rules(str(file), "012", ["round"]) if one.label == 2] == [
        "at least 0.5", "at most 0.502",
    ]  # fmt: skip
