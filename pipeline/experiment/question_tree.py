"""What links attributes to classes as a network has learnt it: a decision tree that answers as it does, to be read."""

from __future__ import annotations

import logging

import torch

from pipeline.data.attributes import in_words
from pipeline.models.heads.concepts import Concepts
from pipeline.reporting.plots.tree import first_questions
from pipeline.tracking.runs import TrackedRun

log = logging.getLogger("pipeline.train")
_LEAVES = 2  # a class


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
    log.info("rules.txt says in questions what the network has learnt: a tree that %s", said)
