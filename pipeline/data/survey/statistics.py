"""What a survey's figures say of the whole set."""

import numpy as np
import pandas as pd

from pipeline.data.survey.duplicates import crossing
from pipeline.data.survey.perceptual_hash import near_groups
from pipeline.data.table import PictureTable


def sample(table: PictureTable, most: int | None, seed: int = 0) -> np.ndarray:
    """Rows to open, ascending: all, or `most` of them, every class and split in its share.

    A picture of several animals, which has a row each, is opened once.
    """
    n = len(table.rows)
    if most is None or most >= n:
        return np.flatnonzero(~table.files.duplicated().to_numpy())
    order = np.random.default_rng(seed).permutation(n)
    key = table.labels * 4 + table.rows["split"].cat.codes.to_numpy(np.int64)
    by_group = order[np.argsort(key[order], kind="stable")]
    some = np.sort(by_group[np.linspace(0, n - 1, most).astype(np.int64)])
    return some[~table.files.iloc[some].duplicated().to_numpy()]


def channel_statistics(facts: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of red, green and blue in 0..1, over all pixels of the pictures read."""
    read = facts[facts["problem"] == ""]
    if read.empty:
        return pd.DataFrame({"mean": [np.nan] * 3, "std": [np.nan] * 3}, index=["red", "green", "blue"])
    mean, square = (np.stack(read[name].to_list()).mean(axis=0) for name in ("mean", "square"))
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return pd.DataFrame({"mean": mean, "std": std}, index=["red", "green", "blue"])


def unreadable(table: PictureTable, facts: pd.DataFrame) -> pd.DataFrame:
    """What cannot be read, and why: columns `path` and `problem`."""
    broken = facts[facts["problem"] != ""]
    return pd.DataFrame({
        "path": table.rows["path"].to_numpy()[broken["row"]], "problem": broken["problem"].to_numpy(),
    })  # fmt: skip


def figures(table: PictureTable, facts: pd.DataFrame, alike: pd.DataFrame, leaks: pd.DataFrame) -> dict[str, float]:
    """All that can be told in a number, by its name."""
    exact = alike["kind"] == "exact"
    found = {
        "pictures": len(table.rows),
        "classes": len(table.classes),
        "opened": len(facts),
        "unreadable": (facts["problem"] != "").sum(),
        "odd": (facts["odd"] != "").sum(),
        "exact_copies": exact.sum(),
        "near_copies": (~exact).sum(),
        "leaks": len(leaks),
    }
    if table.unlisted is not None:
        found["unlisted"] = table.unlisted
    for channel, row in channel_statistics(facts).dropna().iterrows():  # of none that can be read there is none
        found |= {f"mean_{channel}": row["mean"], f"std_{channel}": row["std"]}
    return {name: float(value) for name, value in found.items()}


def copies(table: PictureTable, facts: pd.DataFrame, distance: int) -> pd.DataFrame:
    """Groups of pictures that are alike: a row a picture with `row`, `group`, `same` and `kind`.

    Pictures of a group share `same` where their bytes are the same; they are of the kind `exact`, the others of
    the group `near`. Pictures too even for a hash are compared by their bytes only, what cannot be read not at all.
    """
    digests = facts["digest"].mask(facts["problem"] != "", facts["row"].astype("str"))
    same = pd.factorize(digests)[0].astype(np.int64)
    group, hashed = -1 - same, facts["hash"].notna().to_numpy()
    if hashed.any():
        group[hashed] = near_groups(np.stack(facts["hash"][hashed].to_list()), distance)
    alike = pd.DataFrame({"row": facts["row"], "group": group, "same": same})
    alike = alike[alike["group"].duplicated(keep=False)].sort_values(["group", "row"])
    alike["kind"] = np.where(alike.duplicated(["group", "same"], keep=False), "exact", "near")
    alike["group"] = pd.factorize(alike["group"])[0]
    return alike.reset_index(drop=True)


def leaking(table: PictureTable, alike: pd.DataFrame) -> pd.DataFrame:
    """Of `copies`, the pairs in two splits or under two labels; `leak` says which, `kind` how alike."""
    rows = alike["row"].to_numpy()
    exact, near = (crossing(table, rows, alike[name].to_numpy()) for name in ("same", "group"))
    same = dict(zip(table.rows["path"].iloc[rows], alike["same"], strict=True))
    near = near[near["path"].map(same) != near["other_path"].map(same)]
    pairs = pd.concat([exact.assign(kind="exact"), near.assign(kind="near")], ignore_index=True)
    splits, labels = (pairs[name] != pairs[f"other_{name}"] for name in ("split", "label"))
    return pairs.assign(leak=np.select([splits & labels, splits], ["split and label", "split"], "label"))


def without_leaks(table: PictureTable, alike: pd.DataFrame) -> PictureTable:
    """The table with every group of `copies` that lies in several splits moved to train as a whole.

    Train, and not the other way round: what is left of val and test has not been learned from.
    """
    splits = table.rows["split"].iloc[alike["row"]].astype(object).to_numpy()
    torn = alike.assign(split=splits).groupby("group")["split"].transform("nunique") > 1
    split = table.rows["split"].copy()
    split.iloc[alike["row"][torn]] = "train"
    return table.with_rows(table.rows.assign(split=split))
