"""What a table's further columns say of classes and splits: which one gives the class away, which differs by split."""

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from pipeline.data.files import cell_text
from pipeline.data.table import PictureTable

_BINS = 10  # of a column of numbers: its deciles
_NEARLY = 0.95  # of the pictures: what is told of so many is as good as told
_REPEATS = 2  # a value has to come so often, in the mean, for a column to say anything


def column_report(table: PictureTable) -> pd.DataFrame:
    """A row a column that is neither path, label nor split, and whose values repeat; columns of numbers by deciles.

    `column`; `values`, how many; `majority`, the share of the commonest class, which is how often the class is guessed
    right without the column, and `guess`, how often with it (the commonest class among the other pictures of the same
    value, or the same as without it where that is more); `shared`, which part of the val and test pictures has a
    value that train has too; `differs`, how strongly value and split go together
    (Cramér's V, 0 to 1), and `p`, the chance of that by accident. What cannot be said is missing.
    """
    found = [
        report
        for name in table.rows.columns.drop(["path", "label", "split"], errors="ignore")
        if (report := _of_column(table, str(name)))
    ]
    return pd.DataFrame(found, columns=["column", "values", "guess", "majority", "shared", "differs", "p"])


def determined(column: str, cells: pd.Series, labels: np.ndarray) -> str:
    """What is to be said of a column whose cells (n,) tell the classes (n,), or which these tell; "" for nothing."""
    texts = cells.map(cell_text).to_numpy()
    known = texts != ""
    codes, labels = pd.factorize(texts[known])[0], labels[known]
    if not len(codes) or not codes.any():
        return ""
    class_by_value, value_by_class = guessed_right(codes, labels), guessed_right(labels, codes)
    if class_by_value >= _NEARLY > np.bincount(labels).max() / len(labels):
        return (
            f"{column} alone tells the class of {100 * class_by_value:.0f} % of the training pictures: a network "
            "that is given it need not look at them; is it known before the class is?"
        )
    if value_by_class >= _NEARLY > np.bincount(codes).max() / len(codes):
        return (
            f"the class tells {column} of {100 * value_by_class:.0f} % of the training pictures: it may have been "
            "read off the class, and then is a part of the answer, which nobody knows of a new picture"
        )
    return ""


def guessed_right(groups: np.ndarray, labels: np.ndarray) -> float:
    """Share of pictures whose label is the commonest among the others of their group, a tie counting half.

    `groups` and `labels` are (n,) codes. A picture does not vote for itself, so a column that differs for every
    picture guesses nothing.
    """
    pairs = pd.DataFrame({"group": groups, "label": labels}).value_counts(sort=False).reset_index(name="many")
    pairs = pairs.sort_values(["group", "many"], ascending=[True, False], kind="stable")
    place = pairs.groupby("group").cumcount()
    first, second = pairs[place == 0].set_index("group"), pairs[place == 1].set_index("group")["many"]
    rivals = second.reindex(first.index, fill_value=0).to_numpy()
    others = first["many"].to_numpy() - 1  # of its own class, beside the picture that asks
    right = np.where(others > rivals, 1.0, np.where((others == rivals) & (others > 0), 0.5, 0.0))
    return float((right * first["many"].to_numpy()).sum() / len(labels))


def _of_column(table: PictureTable, name: str) -> dict[str, object] | None:
    values = table.rows[name]
    known = values.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values) and values.nunique() > _BINS:
        codes = pd.qcut(values.rank(method="first"), _BINS, labels=False).fillna(-1).to_numpy(dtype=np.int64)
        many = _BINS
    else:
        codes, names = pd.factorize(values.map(str, na_action="ignore"))
        many = len(names)
    if many < 2 or known.sum() < _REPEATS * many:
        return None
    codes, labels = codes[known], table.labels[known]
    split = table.rows["split"].astype(object).to_numpy()[known]
    held_out = np.isin(split, ["val", "test"])
    majority = float(np.bincount(labels).max() / len(labels))
    report: dict[str, object] = {
        "column": name,
        "values": many,
        "guess": max(guessed_right(codes, labels), majority),
        "majority": majority,
    }
    if held_out.any() and not held_out.all():
        report["shared"] = float(np.isin(codes[held_out], codes[~held_out]).mean())
        counts = pd.crosstab(codes, held_out).to_numpy()
        report["differs"] = float(association(counts, method="cramer"))
        report["p"] = float(chi2_contingency(counts).pvalue)
    return report
