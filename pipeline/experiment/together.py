"""Several pictures of one animal, answered as one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from pipeline.data.table import PictureTable
from pipeline.evaluation.counting import kept
from pipeline.serving.answers import Answer, Wanted, answer_group, probabilities_of
from pipeline.serving.described import Described
from pipeline.serving.seen import Seen, all_of, calibrated_as_one

Tally = list[csr_array]  # probabilities (n, k) of what is not unknown, some pictures at a time


def codes(table: PictureTable, column: str) -> np.ndarray:
    """(n,) codes of the groups that a column names; a picture without one is alone."""
    names = table.rows[column]
    return pd.factorize(names.where(names.notna(), table.rows["path"].map(lambda path: f"\0{path}")))[0]


@dataclass
class Waiting:
    """Pictures of a group that wait for the others of it: they come one group after the other."""

    model: Described
    wanted: Wanted
    tally: Tally | None
    rows: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def told(self, rows: list[int], seen: Seen, digests: list[str], groups: np.ndarray) -> dict[int, Answer]:
        """The answers of the groups that are whole by now; each picture has its group's."""
        said = dict[int, Answer]()
        for place, row in enumerate(rows):
            if self.rows and groups[self.rows[-1]] != groups[row]:
                said |= self.last()
            self.rows.append(row)
            self.seen.append(seen.at(place))
            self.digests.append(digests[place])
        return said

    def last(self) -> dict[int, Answer]:
        """The answer of the group that is waiting."""
        if not self.rows:
            return {}
        seen = all_of(self.seen)
        answer = answer_group(self.model, seen, "".join(self.digests), self.wanted)
        if self.tally is not None and not answer.unknown:
            calibrated, one = calibrated_as_one(self.model, seen)
            self.tally.append(kept(probabilities_of(calibrated, one.scores, self.wanted)[0]))
        said = dict.fromkeys(self.rows, answer)
        self.rows, self.seen, self.digests = [], [], []
        return said
