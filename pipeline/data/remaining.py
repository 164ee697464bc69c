"""What remains where pictures that cannot be read are left out: every class, or not."""

import logging

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.data.digest import class_counts
from pipeline.data.table import PictureTable

log = logging.getLogger(__name__)


def check_what_is_left(table: PictureTable, *splits: str) -> None:
    """Raises `BadInput` where a class has no training picture that can be read, or val no picture at all.

    Classes that val or test have lost are warned of: their figures say nothing of these. What cannot be read is
    known from `table.skipped`, once the pictures of `splits` were opened.
    """
    gone = table.files.isin(list(table.skipped)).to_numpy()
    if not gone.any():
        return
    before, after = class_counts(table), class_counts(table.take(np.flatnonzero(~gone)))
    for split in splits:
        lost = before.index[(before[split] > 0) & (after[split] == 0)]
        if lost.empty:
            continue
        first = table.rows["path"][gone & (table.rows["label"] == lost[0]) & (table.rows["split"] == split)].iloc[0]
        others = f" (and {len(lost) - 1} more classes)" if lost[1:].size else ""
        said = f"{table.root}: class {lost[0]!r}{others} has no picture in {split} that can be read, such as {first}"
        if split == "train":
            raise BadInput(f"{said}; put them right, or take the class away with data.classes")
        if split == "val" and not after[split].any():
            raise BadInput(f"{said}, and nor has any other; put them right, as val chooses the weights")
        log.warning("warning: %s; its figures say nothing of that class", said)
