"""What links attributes to classes as a network has learnt it: a decision tree that answers as it does, to be read."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.data.attributes import in_words
from pipeline.data.files import write_csv
from pipeline.data.rules import Rule
from pipeline.models.heads.concepts import Concepts
from pipeline.reporting.plots.tree import first_questions
from pipeline.tracking.runs import TrackedRun

log = logging.getLogger("pipeline.train")
_LEAVES = 2  # a class
_STEP = 0.001
_COUNTS = 1.0  # of a logit: what breaking a rule that was learnt takes, until somebody says otherwise


def tell_tree(
    head: Concepts, classes: list[str], run: TrackedRun, split: str, given: torch.Tensor, concepts: torch.Tensor,
    answered: torch.Tensor,
) -> None:  # fmt: skip
    """Write the tree, learnt from the network's answers to what it is `given` (m, f) of training pictures, as text and
    as a picture of its first questions; how often it answers as the network does is told of a split's `concepts` and
    what was `answered` (n,).
    """
    from sklearn.tree import DecisionTreeClassifier, export_text  # noqa: PLC0415 - costs time, and most runs need none

    tree = DecisionTreeClassifier(criterion="entropy", max_leaf_nodes=max(2, _LEAVES * len(classes)), random_state=0)
    tree.fit(head.shares(head.concepts(given)).numpy(), head(given).argmax(1).numpy())
    names, answers = list(map(in_words, head.attributes)), [classes[code] for code in tree.classes_]
    same = float((tree.predict(head.shares(concepts).numpy()) == answered.numpy()).mean())
    said = f"answers as the network does on {100 * same:.1f} % of {split}; attributes are shares, 0 to 1"
    text = export_text(tree, feature_names=names, class_names=answers, decimals=2, max_depth=1000)
    text = f"A tree of {tree.get_n_leaves()} answers, which {said}.\n\n{text}"
    (run.folder / "rules.txt").write_text(text, encoding="utf-8")
    figure = first_questions(tree, names, answers, f"The first questions of a tree that {said}")
    figure.savefig(run.folder / "rules.png")
    rows = [
        {
            "class": classes[one.label],
            "attribute": head.attributes[one.attribute],
            "rule": one.kind,
            "weight": one.weight,
        }
        for one in rules_of(tree)
    ]
    write_csv(pd.DataFrame(rows, columns=["class", "attribute", "rule", "weight"]), run.folder / "rules_learnt.csv")
    log.info("rules.txt says in questions what the network has learnt: a tree that %s", said)


def rules_of(tree: Any) -> list[Rule]:
    """What all ways of scikit-learn's `tree` to a class have in common: at least, or at most, a share."""
    nodes, wide = tree.tree_, tree.n_features_in_
    low = np.full((len(tree.classes_), wide), np.inf)  # of the class's ways, the least that one asks for
    high = np.full((len(tree.classes_), wide), -np.inf)
    ways = [(0, np.full(wide, -np.inf), np.full(wide, np.inf))]
    while ways:
        node, above, below = ways.pop()
        if nodes.children_left[node] < 0:
            place = nodes.value[node].argmax()
            low[place], high[place] = np.minimum(low[place], above), np.maximum(high[place], below)
            continue
        asked, at = nodes.feature[node], nodes.threshold[node]
        less, more = below.copy(), above.copy()
        less[asked], more[asked] = min(less[asked], at), max(more[asked], at)
        ways += [(nodes.children_left[node], above, less), (nodes.children_right[node], more, below)]
    # As a file says them; rounded apart, no two that a class keeps to become one.
    low, high = np.floor(low / _STEP) * _STEP, np.ceil(high / _STEP) * _STEP
    return [
        Rule(int(tree.classes_[place]), int(asked), sign, float(shares[place, asked]), _COUNTS)
        for shares, sign in ((low, 1), (high, -1))
        for place, asked in np.argwhere((shares > 0) & (shares < 1)).tolist()
    ]
