"""The taxon that a picture is answered with: the deepest that is sure, and in words why not deeper."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.wording import percent
from pipeline.data.taxonomy import RANKS
from pipeline.evaluation.depth import LABEL, NOTHING, Tree


@dataclass(frozen=True)
class Taxon:
    """`name` of a `rank` (`label`: the class itself), its `probability`, and `chain`, the ranks down to it by name.

    Nothing of it where no rank is sure. `why` says in words why the answer stops there.
    """

    why: str
    name: str | None = None
    rank: str | None = None
    probability: float | None = None
    chain: tuple[tuple[str, str], ...] = ()
    common_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        said: dict[str, Any] = {"taxon": self.name, "rank": self.rank, "taxon_probability": self.probability}
        if self.chain:
            said["chain"] = dict(self.chain)
        if self.common_name is not None:
            said["common_name"] = self.common_name
        return said | {"why": self.why}

    def to_row(self) -> dict[str, Any]:
        """As columns of a CSV say it; the chain's stand there already."""
        return {"taxon": self.name, "rank": self.rank, "taxon_probability": self.probability, "why": self.why}


def taxa(
    tree: Tree, taxonomy: pd.DataFrame | None, codes: np.ndarray, probabilities: np.ndarray, threshold: float
) -> list[Taxon]:
    """The taxa on the lines of the classes `codes` (b,), by the probabilities (b, k) of all classes."""
    line = tree.line(codes, probabilities)
    levels = tree.deepest(codes, line, threshold)
    return [
        _taxon(tree, taxonomy, code, some, level, threshold)
        for code, some, level in zip(codes.tolist(), line, levels.tolist(), strict=True)
    ]


def _taxon(
    tree: Tree, taxonomy: pd.DataFrame | None, code: int, line: np.ndarray, level: int, threshold: float
) -> Taxon:
    names, finest = tree.names[code], int(tree.finest[code])
    asked = f"{percent(threshold, 0)} asked" if threshold >= 0.005 else "no least asked, as so few of val were wrong"
    if level == NOTHING:
        likeliest = f"{names[finest]} would be the likeliest, with {percent(float(line[finest]), 0)} ({asked})"
        return Taxon(f"sure of no rank: {likeliest}")
    sure = f"{_said(tree.levels[level])} is sure with {percent(float(line[level]), 0)} ({asked})"
    deeper = [number for number in range(level + 1, finest + 1) if tree.named[code, number]]
    if deeper:
        nearest = deeper[0]
        sure += f", {_said(tree.levels[nearest])} is not: {names[nearest]} has {percent(float(line[nearest]), 0)}"
    known = taxonomy is not None and level == finest and "common_name" in taxonomy
    common = taxonomy["common_name"].iloc[code] if known and taxonomy is not None else None
    return Taxon(
        why=sure,
        name=str(names[level]),
        rank=tree.levels[level],
        probability=float(line[level]),
        chain=tuple(
            (tree.levels[number], str(names[number])) for number in range(level + 1) if tree.named[code, number]
        ),
        common_name=None if pd.isna(common) else str(common),
    )


def _said(level: str) -> str:
    return f"the {'class itself' if level == LABEL else level.replace('_', ' ')}"


def answer_in_words(row: dict[str, Any]) -> dict[str, str]:
    """What a terminal says of a CSV's row: `answer`, a label or a taxon of a higher rank, and `how sure`."""
    label, taxon, rank = row["label"], row.get("taxon"), row.get("rank")
    if row.get("unknown"):
        said = {"answer": "none of these?", "how sure": f"perhaps {label}, {percent(row['probability'], 0)}"}
    elif "taxon" not in row:
        said = {"answer": label, "how sure": percent(row["probability"])}
    elif taxon is None:
        said = {"answer": "not sure", "how sure": f"perhaps {label}, {percent(row['probability'], 0)}"}
    elif taxon in (label, row.get(RANKS[-1])) and rank in (LABEL, RANKS[-1]):
        said = {"answer": label, "how sure": _how_sure(row["taxon_probability"])}
    else:
        said = {"answer": f"{taxon} ({rank})", "how sure": f"of the {rank}: {_how_sure(row['taxon_probability'])}"}
    if other := row.get("label_without_list"):
        said["how sure"] += f"; without the list {other}, {percent(row['probability_without_list'], 0)}"
    return said


def _how_sure(probability: float) -> str:
    words = ((0.99, "almost certain"), (0.9, "sure"), (0.0, "sure enough"))
    return f"{next(word for least, word in words if probability >= least)}, {percent(probability, 0)}"
