"""What a finished run says of pictures, its own or others: as it is stored where it is, else asked of its networks."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.config import schema
from pipeline.data.beside.registry import columns_of
from pipeline.data.digest import content_digest
from pipeline.data.groups import with_groups
from pipeline.data.table import SPLITS, PictureTable
from pipeline.data.unseen import apart
from pipeline.ensembles.recipe import Recipe
from pipeline.evaluation.familiar import Familiar, Looks
from pipeline.experiment import build
from pipeline.experiment.backbones import beside_digest
from pipeline.experiment.familiar import Noted
from pipeline.experiment.inference import answers, matched
from pipeline.experiment.own_pictures import OwnPictures, own_pictures
from pipeline.experiment.stored import data_config
from pipeline.models.classifier import Classifier
from pipeline.models.saved import BEFORE_REFIT, read_facts, weights_for
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.pooling import pool
from pipeline.predictions.predictions import Predictions
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.serving.from_run import bundle_of, ingredients, kept_weights, looks_of
from pipeline.tracking.finished import artifact_folder, facts_of, has_predictions, label, stored_predictions
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import evaluated_run, find_run

log = logging.getLogger("pipeline.evaluate")
NETWORK = "the network"  # where answers came from that were not stored
STORED = "the run's stored predictions"


class Heard(NamedTuple):
    """What was said of pictures, where that came `source`d from, and what was noted of their features, if anything."""

    predictions: Predictions
    source: str
    looks: Looks | None = None


@dataclass(frozen=True)
class Question:
    """What is asked of which run, about which pictures: its own unless the config names others.

    Pictures and networks are read when they are needed.
    """

    client: MlflowClient
    config: schema.Evaluate
    run: Run

    @property
    def own(self) -> bool:
        """Whether these are the pictures that the run was trained and tested on."""
        return self.config.data is None

    @property
    def split(self) -> str:
        return self.config.split or ("test" if self.own else "all")

    @property
    def name(self) -> str:
        """Of the pictures."""
        return self.config.data.name if self.config.data else self.run.data.tags.get("data", "")

    @cached_property
    def trained(self) -> Run:
        """The run itself, or a member: see `trained_by`."""
        return trained_by(self.client, self.run)

    @cached_property
    def data(self) -> schema.Data:
        """As its networks saw pictures, they are shown others; each of several in its own way."""
        if self.config.data is None:
            return data_config(self.trained)
        return self.config.data.model_copy(update={"crop": _crop(self.trained)})

    @cached_property
    def own_pictures(self) -> OwnPictures:
        """The run's own; what differs since then is said once."""
        found = own_pictures(self.trained, artifact_folder(self.trained, ""), self.data)
        if found.difference:
            log.warning("%s", found.difference)
        beside, then = facts_of(self.trained).spec.beside, self.trained.data.tags.get("beside_digest")
        if then and not len(found.vanished) and beside_digest(beside, found.table) != then:
            columns = " and ".join(columns_of([beside]))
            log.warning("since the run began, what is known of %s beside its pictures has changed", columns)
        return found

    def changes(self) -> dict[str, float]:
        """How many of the run's own pictures changed, vanished or are new; nothing where they are gone altogether."""
        with suppress(BadInput):  # stored answers stand without them
            return self.own_pictures.counts if self.own else {}
        return {}

    @cached_property
    def table(self) -> PictureTable:
        """The pictures, in their splits; in none where all of others are asked about."""
        if self.config.evaluation.group:
            return with_groups(self._pictures, self.config.evaluation.group, "evaluation.group")
        return self._pictures

    @property
    def _pictures(self) -> PictureTable:
        if self.own:
            return self.own_pictures.split if self.split == "all" else self.own_pictures.table
        given, _ = self._given
        if self.split == "all" or not len(given.rows):
            return given
        return build.picture_table(self.data, build.split_pictures(self.data, given))

    @cached_property
    def _given(self) -> tuple[PictureTable, PictureTable | None]:
        """Of others' pictures those of the network's classes, and, where they are to be asked, the rest."""
        given = build.all_pictures(self.data, needs_boxes=False)
        if self.config.evaluation.unknown_classes == "raise":
            return given, None
        known = set(self.bundle.classes)
        return apart(given, [name for name in given.classes if name not in known])

    @property
    def unseen(self) -> PictureTable | None:
        """Pictures of classes that the network does not know, which are asked whether they are told for unknown."""
        unseen = None if self.own else self._given[1]
        if unseen is None or self.split == "all":
            return unseen
        brought = unseen.where(self.split)
        return unseen.take(brought) if len(brought) else unseen

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split. BadInput where it is empty."""
        if self.own and split in ("train", "all") and not len(self.table.where("train")):
            raise BadInput(
                f"split={split}: run {label(self.run)} kept no split, and {self.table.name} has changed since: which "
                "pictures it was trained on is not known; ask for val or test, or name pictures with data=..."
            )
        rows = np.arange(len(self.table.rows)) if split == "all" else self.table.where(split)
        if not len(rows) and not self.unseen:
            there = [name for name in SPLITS if len(self.table.where(name))]
            raise BadInput(
                f"split={split}: {self.table.name} has no such pictures; it can be {', '.join(there)} or all"
            )
        return rows

    @cached_property
    def bundle(self) -> Bundle:
        """The networks of the registered model, or of the run at the checkpoint asked for."""
        if self.config.model:
            return read_bundle(fetch_model(self.config.model) / "artifacts" / "served")
        rule, folders = ingredients(self.client, self.run)
        asked = self.config.checkpoint
        kept = kept_weights(folders.values())
        if asked not in kept:
            raise BadInput(f"checkpoint={asked}: the run kept no such weights{did_you_mean(asked, kept)}")
        return bundle_of(rule, [folder / f"{asked}.safetensors" for folder in folders.values()])

    def networks(self) -> tuple[Classifier, ...]:
        """Those that answer; none where their weights are gone, as stored answers stand without them."""
        with suppress(BadInput):
            return self.bundle.members
        return ()

    def _as_chosen(self) -> Bundle:
        """What answers for the run's own val: where a member was fitted once more, val included, that from before."""
        if self.config.checkpoint == "best":
            rule, folders = ingredients(self.client, self.run)
            files = [weights_for("val", folder) for folder in folders.values()]
            if any(file.name == BEFORE_REFIT for file in files):
                return bundle_of(rule, files)
        return self.bundle

    def answers(self, split: str) -> Heard:
        """The answers for a split, and where they came from: stored ones where there are, else the network's."""
        config, run = self.config, self.run
        as_kept = self.own and config.evaluation.tta == "none" and config.checkpoint == "best"
        if as_kept and (stored := _left(run, split)) is not None:
            return Heard(stored, STORED, looks_of(run)[1].get(split))
        rows = self.rows(split)
        if not len(rows):
            return Heard(PredictionsBuilder(list(self.bundle.classes)).finish(), NETWORK)
        earlier = evaluated_run(self.client, run.info.experiment_id, self.key(split))
        if earlier and (stored := _left(earlier, split)) is not None:
            looks = looks_of(earlier)[1].get(split)
            if looks is not None or self._familiar is None:  # else it is one of an earlier version
                return Heard(stored, f"the evaluation {earlier.info.run_name}", looks)
        bundle = self._as_chosen() if self.own and split == "val" else self.bundle
        return self.asked(bundle, matched(self.table, bundle.classes), rows)

    @property
    def _familiar(self) -> Familiar | None:
        """By which is noted what pictures look like, where that can be told."""
        as_noted = self.config.checkpoint == "best" and self.config.evaluation.tta == "none"
        return looks_of(self.run)[0] if as_noted else None

    def asked(self, bundle: Bundle, table: PictureTable, rows: np.ndarray) -> Heard:
        """What networks say of some pictures of a table of their classes."""
        config = self.config
        note = Noted(self._familiar)
        made = answers(
            bundle.members, bundle.rule, table, rows, config.trainer, views=config.evaluation.tta,
            on_unreadable=self.data.on_unreadable, note=note.add,
        )  # fmt: skip
        return Heard(made, NETWORK, note.looks)

    def key(self, split: str) -> str:
        """What makes two evaluations the same question; the run's id also of a model, as an alias moves on."""
        rows = self.rows(split)
        pictures, truth = content_digest(self.table, rows), self.table.labels[rows].tobytes().hex()
        asked = [self.run.info.run_id, self.config.checkpoint, self.config.evaluation.tta, split, pictures, truth]
        _, folders = ingredients(self.client, self.run)
        beside = columns_of(read_facts(folder).spec.beside for folder in folders.values())
        asked += [self.table.rows.reindex(columns=list(beside)).iloc[rows].to_csv()] if beside else []
        return sha256("\0".join(asked).encode()).hexdigest()[:16]

    def val(self) -> Predictions | None:
        """What calibrates: val's answers, given the same way where the run's own pictures are at hand; else as stored.

        None where val is itself asked about, or the run left no answers for it.
        """
        if self.own:
            return None if self.split in ("val", "all") else self.pooled(self.answers("val").predictions)
        if not has_predictions(self.run, "val"):
            return None
        if self.config.evaluation.tta != "none" or self.config.evaluation.group:
            log.info("calibration is that of single pictures, each seen once, of the run's own val")
        return stored_predictions(self.run, "val")

    def check_group(self) -> None:
        """Raise BadInput for a column that the user's pictures have not, or that is no specimen's."""
        column = self.config.evaluation.group
        if not column:
            return
        rows, name = self.table.rows, self.table.name
        pairs = rows[[column, "label"]].dropna().drop_duplicates()
        strays = pairs[pairs.duplicated(column, keep=False)]
        if len(strays):
            one = strays[strays[column] == strays[column].iloc[0]]
            raise BadInput(
                f"evaluation.group={column}: {one[column].iloc[0]} is labelled {' and '.join(one['label'][:2])} in "
                f"{name}: correct its label, or choose a column that names one specimen each"
            )

    def pooled(self, answered: Predictions) -> Predictions:
        """One answer a specimen, where evaluation.group says what that is."""
        column = self.config.evaluation.group
        if not column:
            return answered
        there = self.still_there(answered)
        if not len(there):
            raise BadInput(f"evaluation.group={column}: {self.table.name} has none of the pictures answered for")
        if gone := len(answered) - len(there):
            first = answered.ids[~np.isin(answered.ids, there.ids)][0]
            log.warning(
                "%d pictures are left out, as they are no longer in %s and so of no known %s: %s%s",
                gone, self.table.name, column, first, ", ..." if gone > 1 else "",
            )  # fmt: skip
        groups = dict(zip(self.table.rows["path"], self.table.rows[column], strict=True))
        return pool(there, [groups[one] for one in there.ids.tolist()])

    def still_there(self, answered: Predictions) -> Predictions:
        """The answers for pictures that the table still has."""
        return answered.take(np.isin(answered.ids, self.table.rows["path"]))


def trained_by(client: MlflowClient, run: Run) -> Run:
    """The run itself; of an ensemble, whose members have val and test in common, the best member.

    Where that looks at whole pictures, and another at boxes in them, the other, which knows of these.
    """
    tags = run.data.tags
    if tags.get("stage") != "ensemble":
        return run
    others = [] if tags.get("strategy") == "soup" else Recipe.read(artifact_folder(run, "ensemble")).run_ids
    members = [find_run(client, one) for one in dict.fromkeys([tags.get("best_member") or others[0], *others])]
    return next((one for one in members if _crop(one) != "none"), members[0])


def _crop(run: Run) -> str:
    """What a run's network looks at of a picture that has a box."""
    return next((part.crop for part in facts_of(run).spec.preprocessing.parts if part.crop != "none"), "none")


def _left(run: Run, split: str) -> Predictions | None:
    """What a run left of a split; None where that is nothing or, which is said, damaged: its network can be asked."""
    if not has_predictions(run, split):
        return None
    try:
        return stored_predictions(run, split)
    except BadInput as error:
        log.warning("warning: not used: %s", error)
        return None
