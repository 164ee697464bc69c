"""Which class was taken for which: counted sparsely, so 10,000 classes cost no more than their errors."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array

from pipeline.common.errors import BadInput
from pipeline.predictions.predictions import Predictions

SQUARE_CLASSES = 1_000


def counts(predictions: Predictions) -> csr_array:
    """(k, k) int64 sparse counts: a row a true class, a column a predicted one."""
    size = len(predictions.classes)
    ones = np.ones(len(predictions), dtype=np.int64)
    return coo_array((ones, (predictions.labels, predictions.predicted)), shape=(size, size)).tocsr()


def table(predictions: Predictions) -> pd.DataFrame:
    """What `confusion_matrix.csv` holds.

    Up to `SQUARE_CLASSES` classes the square of counts, `true` classes down, predicted ones across; above
    that one row a pair that occurred: `true`, `predicted`, `pictures`.
    """
    names = predictions.classes
    matrix = counts(predictions)
    if len(names) <= SQUARE_CLASSES:
        return pd.DataFrame(matrix.toarray(), index=pd.Index(names, name="true"), columns=names)
    pairs = matrix.tocoo()
    long = pd.DataFrame({"true": pairs.row, "predicted": pairs.col, "pictures": pairs.data})
    long = long.sort_values(["true", "predicted"], ignore_index=True)
    lookup = np.asarray(names, dtype=object)
    return long.assign(true=lookup[long["true"]], predicted=lookup[long["predicted"]])


def most_confused(predictions: Predictions, most: int = 20) -> pd.DataFrame:
    """The worst pairs, most pictures first: `true`, `predicted`, `pictures`, `share` (of the true class's).

    Of pairs with as many pictures the larger share comes first, then the order of the classes.
    """
    pairs = counts(predictions).tocoo()
    wrong = pairs.row != pairs.col
    shown = np.bincount(predictions.labels, minlength=len(predictions.classes))
    worst = pd.DataFrame({"true": pairs.row, "predicted": pairs.col, "pictures": pairs.data})[wrong]
    worst["share"] = worst["pictures"] / shown[worst["true"]]
    worst = worst.sort_values(
        ["pictures", "share", "true", "predicted"], ascending=[False, False, True, True], ignore_index=True
    ).head(most)
    lookup = np.asarray(predictions.classes, dtype=object)
    return worst.assign(true=lookup[worst["true"]], predicted=lookup[worst["predicted"]])


def by_group(predictions: Predictions, groups: pd.Series) -> pd.DataFrame:
    """(g, g) counts between groups of classes (orders, families, ...), true groups down, predicted across.

    `groups` gives each class's group, indexed by class name; groups stand in the order of their first class.
    """
    missing = [name for name in predictions.classes if name not in groups.index]
    if missing:
        raise BadInput(f"the taxonomy has no row for {missing[0]} ({len(missing)} classes): add it")
    codes, names = pd.factorize(groups.loc[predictions.classes].fillna("(none)").astype(str))
    square = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(square, (codes[predictions.labels], codes[predictions.predicted]), 1)
    return pd.DataFrame(square, index=pd.Index(names, name="true"), columns=list(names))


def among(predictions: Predictions, names: list[str]) -> pd.DataFrame:
    """(m, m + 1) counts of a choice of true classes; the last column, "(other)", holds all other answers."""
    code = {name: place for place, name in enumerate(predictions.classes)}
    chosen = [code[name] for name in names]
    rows = counts(predictions)[chosen]
    square = pd.DataFrame(rows[:, chosen].toarray(), index=pd.Index(names, name="true"), columns=names)
    return square.assign(**{"(other)": rows.sum(axis=1) - square.to_numpy().sum(axis=1)})
