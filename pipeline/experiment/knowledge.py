"""What links attributes to classes as it is given: what is telling of each, and tells apart those that are confused."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pandas as pd
import torch

from pipeline.common.wording import counted
from pipeline.data.attributes import in_words
from pipeline.data.files import write_csv
from pipeline.models.heads.concepts import Concepts
from pipeline.reporting.plots.knowledge import told_apart
from pipeline.tracking.runs import TrackedRun

log = logging.getLogger("pipeline.train")
_PAIRS, _EACH = 6, 5


def tell_knowledge(
    head: Concepts, classes: list[str], run: TrackedRun, split: str, labels: torch.Tensor, answered: torch.Tensor
) -> None:
    """Write the attributes that are most telling of each class, and draw those that tell the classes apart that are
    confused most among pictures with `labels` (n,) and answers (n,).
    """
    names = list(map(in_words, head.attributes))
    shares = pd.DataFrame(head.signatures.numpy(), index=classes, columns=names)
    write_csv(telling(shares), run.folder / "telling_attributes.csv")
    wrong = (labels != answered).numpy()
    pairs = Counter(tuple(sorted(pair)) for pair in zip(labels[wrong].tolist(), answered[wrong].tolist(), strict=True))
    if not pairs:
        return
    shown = [
        (classes[one], classes[other], f"taken for each other in {counted(count, 'picture')} of {split}")
        for (one, other), count in pairs.most_common(_PAIRS)
    ]
    figure = told_apart(shown, shares, "What is known to tell them apart, of the classes confused most")
    figure.savefig(run.folder / "knowledge.png")
    log.info(
        "knowledge.png draws which attributes tell the classes apart that are confused most; which are telling of each "
        "class, says telling_attributes.csv"
    )


def telling(shares: pd.DataFrame) -> pd.DataFrame:
    """Of `shares` (classes, attributes) a row each for the few whose share is furthest above what is usual.

    `class`, `attribute`, `share`, `usual`: the mean of the classes.
    """
    usual = shares.mean()
    above = ((shares - usual) / shares.std(ddof=0)).fillna(-np.inf).to_numpy()
    places = np.argsort(-above, axis=1, kind="stable")[:, :_EACH]
    rows = [
        (name, shares.columns[place], shares.iat[row, place], usual.iloc[place])
        for row, name in enumerate(shares.index)
        for place in places[row]
        if above[row, place] > 0
    ]
    return pd.DataFrame(rows, columns=["class", "attribute", "share", "usual"])
