"""How well pictures of no known class are told from known ones, and what is answered to them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from pipeline.common.atomic import write_atomically
from pipeline.common.wording import counted, percent
from pipeline.data.files import write_csv
from pipeline.data.table import PictureTable
from pipeline.data.unseen import FILE
from pipeline.evaluation.depth import NOTHING, Tree, lines
from pipeline.evaluation.strangeness import too_strange
from pipeline.predictions.predictions import Predictions


class Told(NamedTuple):
    """`figures` by name; `rows`, a row a picture: what was answered, how strange it is, whether it is unknown;
    `by_rank` where the answers end, where a rank can be promised.
    """

    figures: dict[str, float]
    rows: pd.DataFrame
    by_rank: pd.DataFrame | None

    def write(self, folder: Path) -> None:
        """`unseen.csv`, in the place of what says which pictures these are, and `unseen_by_rank.csv`."""
        if self.by_rank is not None:
            write_csv(self.by_rank, folder / "unseen_by_rank.csv")
        write_atomically(folder / FILE, lambda path: write_csv(self.rows, path), shared=True)

    def in_words(self, how: str, known: str, share: float) -> list[str]:
        """Lines that say it: `how` the classes are not known, which `known` pictures they are told from, and which
        share of these was promised to be sent away at most.
        """
        figures = self.figures
        classes, pictures = int(figures["unseen/classes"]), int(figures["unseen/pictures"])
        said = [
            f"of {counted(classes, 'class')} {how} ({counted(pictures, 'picture')}): told from the known ({known}) with"
            f" an area under the curve of {figures['unseen/auroc_near']:.3f}; where at most {percent(share, 0)} of "
            f"known pictures are sent away ({percent(figures['unseen/known_sent_away'])} were), "
            f"{percent(figures['unseen/accepted'])} of these pass for known"
        ]
        if self.by_rank is not None:
            reached = ", ".join(f"{one.rank} {percent(one.share)}" for one in self.by_rank.itertuples() if one.answers)
            right = f" ({percent(self.rows['right'].mean())} by the right taxon)" if "right" in self.rows else ""
            said.append(f"their answers end at: {reached}{right}")
        return said


def told_of(
    unseen: PictureTable, said: Predictions, here: np.ndarray, there: np.ndarray, promised: tuple[float, float],
    sure: tuple[Tree, float] | None,
) -> Told:  # fmt: skip
    """What is told of n `unseen` pictures by what was `said` of them, at the temperature.

    `here` (n,) is how strange they are, `there` (m,) known ones; `promised` the share of known pictures sent away, and
    its threshold; `sure` the classes' tree and the threshold of answers at the rank that is sure.
    """
    strange = too_strange(here, promised[1])
    figures = {
        "unseen/auroc_near": auroc(there, here), "unseen/accepted": float((~strange).mean()),
        "unseen/known_sent_away": float(too_strange(there, promised[1]).mean()), "unseen/pictures": len(said),
        "unseen/classes": len(unseen.classes),
    }  # fmt: skip
    rows = unseen.rows.set_index("path").loc[said.ids, ["label"]].reset_index()
    rows["answer"] = [said.classes[code] for code in said.predicted]
    rows["strangeness"], rows["unknown"] = here.round(4), strange
    if sure is None:
        return Told(figures, rows, None)
    rows = _landed(unseen, said, rows, *sure)
    return Told(figures, rows, ranks_reached(rows))


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """How often an unknown picture is stranger than a known one, of strangeness (n,) and (m,); ties count half."""
    return float(mannwhitneyu(unknown, known).statistic / (len(known) * len(unknown)))


def ranks_reached(landed: pd.DataFrame) -> pd.DataFrame:
    """A row a rank: how many answers to unseen pictures end there, which `share` of all that is, how many of them name
    the picture's true taxon (`right`, where a taxonomy tells), and how many pass for known (`accepted`).
    """
    ranks = landed["rank"].cat.categories
    summed = {name: (name, "sum") for name in ("right", "unknown") if name in landed}
    found = landed.groupby("rank", observed=False).agg(answers=("path", "size"), **summed)
    found = found.reindex(ranks).rename_axis("rank").reset_index()
    accepted = found["answers"] - found.pop("unknown")
    return found.assign(share=found["answers"] / max(len(landed), 1), accepted=accepted)


def _landed(unseen: PictureTable, said: Predictions, rows: pd.DataFrame, tree: Tree, threshold: float) -> pd.DataFrame:
    """Rows with the `taxon` and `rank` that each picture is answered with, and, where a taxonomy tells, whether it is
    `right`.
    """
    truth = unseen.taxonomy
    level = tree.deepest(said.predicted, lines(tree, said), threshold)
    names = tree.names[said.predicted, level]
    ranks = ["nothing", *tree.levels]
    rank = pd.Categorical.from_codes(level - NOTHING, categories=ranks)
    taxon = [None if one == NOTHING else name for one, name in zip(level.tolist(), names, strict=True)]
    landed = rows.assign(taxon=taxon, rank=rank)
    if truth is None:
        return landed
    right = [
        name is not None and at in truth and truth.at[label, at] == name
        for label, at, name in zip(rows["label"], rank, taxon, strict=True)
    ]
    return landed.assign(right=right)
