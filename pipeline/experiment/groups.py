"""Several pictures of one animal, answered as one; a run's own, by which answers to such are calibrated."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from scipy.sparse import csr_array

from pipeline.common.errors import BadInput
from pipeline.data.groups import with_groups
from pipeline.data.table import PictureTable
from pipeline.evaluation.counting import kept
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.question import trained_by
from pipeline.experiment.stored import data_config
from pipeline.serving.answers import Answer, Wanted, answer_group, probabilities_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.seen import Seen, all_of, calibrated_as_one
from pipeline.tracking.finished import artifact_folder

log = logging.getLogger("pipeline.promote")
Tally = list[csr_array]  # probabilities (n, k) of what is not unknown, some pictures at a time


def groups_of_run(client: MlflowClient, run: Run, asked: str | None) -> dict[str, str] | None:
    """The groups of a run's own pictures by their ids: those `asked` for, else those of its split.

    None where it has none, or, which is said, its pictures are not at hand; BadInput where they were asked for.
    """
    of = trained_by(client, run)
    how = asked or of.data.params.get("data.split.group", "None")
    if how == "None":
        return None
    try:
        data = data_config(of)
        own = own_pictures(of, artifact_folder(of, ""), data).table
        table = with_groups(own, how, "group" if asked else "data.split.group")
    except BadInput as error:
        if asked:
            raise
        log.warning("warning: answers to several pictures of one animal are calibrated as those to one: %s", error)
        return None
    rows = table.rows.dropna(subset=[how])
    return dict(zip(rows["path"], rows[how], strict=True))


def codes(table: PictureTable, column: str) -> np.ndarray:
    """(n,) codes of the groups that a column names; a picture without one is alone."""
    names = table.rows[column]
    return pd.factorize(names.where(names.notna(), table.rows["path"].map(lambda path: f"\0{path}")))[0]


@dataclass
class Waiting:
    """Pictures of a group that wait for the others of it: they come one group after the other."""

    bundle: Bundle
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
        answer = answer_group(self.bundle, seen, "".join(self.digests), self.wanted)
        if self.tally is not None and not answer.unknown:
            calibrated, one = calibrated_as_one(self.bundle, seen)
            self.tally.append(kept(probabilities_of(calibrated, one.scores, self.wanted)[0]))
        said = dict.fromkeys(self.rows, answer)
        self.rows, self.seen, self.digests = [], [], []
        return said
