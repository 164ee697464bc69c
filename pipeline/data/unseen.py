"""Species that are held out as wholes, to see what a model says of what it does not know."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.common.wording import counted
from pipeline.data.files import read_table, unguarded, write_csv
from pipeline.data.table import PictureTable

FILE = "unseen.csv"  # among a run's: which pictures were held out, and in the end what was answered to them


def unseen_classes(table: PictureTable, unseen: float | Sequence[str] | None, seed: int) -> list[str]:
    """The classes that are held out: those named, or a share of them (0 to 1, at least one), drawn by the seed.

    BadInput for a name that is no class, and where fewer than two classes would be left.
    """
    classes = table.classes
    if unseen is None:
        return []
    if isinstance(unseen, float):
        count = max(1, round(len(classes) * unseen))
        drawn = {classes[place] for place in np.random.default_rng(seed).permutation(len(classes))[:count]}
    else:
        drawn = {str(name) for name in unseen}
        for name in sorted(drawn.difference(classes)):
            raise BadInput(f"data.unseen: {table.name} has no class {name!r}{did_you_mean(name, classes)}")
    if len(classes) - len(drawn) < 2:
        raise BadInput(
            f"data.unseen: {counted(len(drawn), 'class')} of {len(classes)} held out would leave "
            f"{len(classes) - len(drawn)} to tell apart; it takes 2 or more"
        )
    return [name for name in classes if name in drawn]


def apart(table: PictureTable, unseen: Sequence[str]) -> tuple[PictureTable, PictureTable | None]:
    """The pictures of the classes that are known, and those of the classes held out; None where there are none."""
    if not unseen:
        return table, None
    held = set(unseen)
    return table.with_classes([name for name in table.classes if name not in held]), table.with_classes(list(unseen))


def keep_unseen(table: PictureTable, folder: Path) -> None:
    """Note which pictures are held out, by which a run that breaks off knows them again."""
    write_csv(table.rows[["path", "label"]], folder / FILE)


def kept_unseen(folder: Path) -> list[str]:
    """The classes that a run held out; none of a run that held none."""
    if not (folder / FILE).is_file():
        return []
    return list(dict.fromkeys(unguarded(read_table(folder / FILE, FILE)["label"].astype("str"))))
