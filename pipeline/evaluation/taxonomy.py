"""Errors seen in the light of the taxonomy: a tern taken for a gull is not a tern taken for a mushroom.

A taxonomy is a table with a row a class, indexed by class name, with some of the columns of
`pipeline.data.taxonomy.RANKS`, or levels of a tree.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.taxonomy import RANKS, ranks_of
from pipeline.predictions.predictions import Predictions


def lineages(taxonomy: pd.DataFrame) -> pd.DataFrame:
    """Each class's group at each rank, named by the known names of the path down to it, so that homonyms stay apart.

    A missing name counts as a group of its own with its class, but sets nothing below it apart.
    """
    named, path = {}, pd.Series("", index=taxonomy.index, dtype="string")
    own = "(" + taxonomy.index.astype("string").to_series(index=taxonomy.index) + ")"
    for rank in ranks_of(taxonomy):
        name = taxonomy[rank].astype("string")
        named[rank] = path + " / " + name.fillna(own)
        path = named[rank].where(name.notna(), path)
    return pd.DataFrame(named, index=taxonomy.index)


def grouping(taxonomy: pd.DataFrame, most: int) -> pd.Series | None:
    """The finest rank with 2 to `most` groups, as each class's group; None where there is no such rank."""
    for rank in reversed(ranks_of(taxonomy)):
        if 2 <= taxonomy[rank].nunique() <= most:
            return taxonomy[rank]
    return None


def without_row(taxonomy: pd.DataFrame) -> np.ndarray:
    """(k,) bool: of which classes nothing is known at any rank."""
    return taxonomy[ranks_of(taxonomy)].isna().all(axis=1).to_numpy()


def check_rows(classes: Sequence[str], taxonomy: pd.DataFrame) -> None:
    """Raises BadInput for a class of which the taxonomy has no row, not even an empty one."""
    missing = [name for name in classes if name not in taxonomy.index]
    if missing:
        raise BadInput(f"the taxonomy has no row for {missing[0]} ({len(missing)} such classes): add it")


def rank_accuracy(predictions: Predictions, taxonomy: pd.DataFrame) -> pd.DataFrame:
    """How often the answer is right at each rank, from the root down: `rank`, `groups`, `accuracy`, `unknown`.

    Classes whose group at a rank is not known, `unknown` of them, are no groups there, and their pictures are left
    out; to answer with such a class is a mistake. The last level, the class itself, leaves out those without a row,
    so that all levels tell of the same pictures where rows are whole.
    """
    codes, names = _level_codes(predictions, taxonomy)
    known = _known(predictions, taxonomy, names)
    rows = []
    for level, rank in enumerate(names):
        asked = known[predictions.labels, level]
        truth, answer = predictions.labels[asked], predictions.predicted[asked]
        right = codes[truth, level] == codes[answer, level]
        groups = len(np.unique(codes[known[:, level], level]))
        if not groups:  # a column without a name in it
            continue
        accuracy = right.mean() if len(right) else np.nan
        rows.append({"rank": rank, "groups": groups, "accuracy": accuracy, "unknown": int((~known[:, level]).sum())})
    return pd.DataFrame(rows)


def error_heights(predictions: Predictions, taxonomy: pd.DataFrame) -> np.ndarray:
    """(n,) how many levels the answer and the truth must climb to meet: 0 for a right answer.

    With the seven ranks, 1 is another species of the genus and 7 another kingdom. This is the hierarchical
    distance of Bertinetto et al. 2020, "Making Better Mistakes". A class without a row is nobody's kin.
    """
    codes, _ = _level_codes(predictions, taxonomy)
    return (codes[predictions.labels] != codes[predictions.predicted]).sum(axis=1)


def error_summary(predictions: Predictions, taxonomy: pd.DataFrame) -> pd.DataFrame:
    """Where mistakes meet the truth, nearest first: `meets_at`, `height`, `pictures`, `share` of mistakes.

    Mistakes with a class without a row, on either side, are left out: nothing says where those meet.
    """
    _, names = _level_codes(predictions, taxonomy)
    lacking = without_row(taxonomy.loc[predictions.classes])
    kin = ~(lacking[predictions.labels] | lacking[predictions.predicted])
    heights = error_heights(predictions, taxonomy)[kin]
    counted = np.bincount(heights, minlength=len(names) + 1)[1:]
    meets_at = ["root", *names[:-1]][::-1]
    table = pd.DataFrame({"meets_at": meets_at, "height": np.arange(1, len(names) + 1), "pictures": counted})
    return table.assign(share=table["pictures"] / max(counted.sum(), 1))


def _known(predictions: Predictions, taxonomy: pd.DataFrame, names: list[str]) -> np.ndarray:
    """(k, levels) whether the group of a class is known at a level; at that of the class, whether it has a row."""
    given = taxonomy.loc[predictions.classes]
    lacking = without_row(given)
    return np.column_stack([given[name].notna().to_numpy() if name in given else ~lacking for name in names])


def _level_codes(predictions: Predictions, taxonomy: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """(k, levels) group codes from the root down to the class itself, and the levels' names."""
    check_rows(predictions.classes, taxonomy)
    named = lineages(taxonomy.loc[predictions.classes])
    if named.empty:
        raise BadInput(f"the taxonomy has none of the columns {', '.join(RANKS)}: add at least one")
    last = taxonomy.loc[predictions.classes, ranks_of(taxonomy)[-1]]
    if last.isna().any() or named.iloc[:, -1].nunique() < len(named):
        named["label"] = named.iloc[:, -1] + " / " + named.index.astype("string")
    codes = [pd.factorize(named[level])[0] for level in named]
    return np.column_stack(codes), list(named)
