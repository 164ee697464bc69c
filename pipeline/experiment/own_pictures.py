"""A run's own pictures: those of the split that it kept, found again among what its folder or table holds today."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.data.digest import data_digest, picture_digests
from pipeline.data.split_files import kept_split
from pipeline.data.table import SPLITS, PictureTable
from pipeline.data.unseen import apart, kept_unseen
from pipeline.experiment import build
from pipeline.models.saved import BEST_FACTS, read_facts
from pipeline.predictions.parquet import read_predictions
from pipeline.tracking.finished import label

_SHOWN = 3


@dataclass(frozen=True)
class OwnPictures:
    """What of a run's pictures is still there, and what differs.

    `split` has every such picture in the split that the run had it in, `table` those that it used of them (as its
    `data.fraction`, `data.per_class` and `data.bootstrap` chose), `unedited` those of `split` that hold what they held,
    which alone may be shown beside an answer given then. `vanished` and `changed` (content or label) are rows `path`
    and `split` of what it kept; `new` counts pictures that are there today and that it never had. `unseen` are those of
    classes that it held out.
    """

    split: PictureTable
    table: PictureTable
    unedited: PictureTable
    vanished: pd.DataFrame
    changed: pd.DataFrame
    new: int
    unseen: PictureTable | None = None

    @property
    def difference(self) -> str:
        """One line on what differs, "" where nothing does."""
        parts = [
            f"{len(some):,} {how} ({some['path'].iloc[0]}{', ...' if len(some) > 1 else ''})"
            for how, some in (("vanished", self.vanished), ("changed", self.changed))
            if len(some)
        ]
        if self.new:
            parts.append(f"{self.new:,} {'is' if self.new == 1 else 'are'} new and not among them")
        return f"since the run began, of its own pictures of {self.split.name}: {', '.join(parts)}" if parts else ""

    @property
    def counts(self) -> dict[str, float]:
        """The same as metrics."""
        return {"data/vanished": len(self.vanished), "data/changed": len(self.changed), "data/new": self.new}

    def check_unchanged(self, what: str, splits: Iterable[str] = SPLITS) -> None:
        """Raise BadInput, which begins with `what`, for pictures of these splits that changed or vanished."""
        odd = pd.concat([self.vanished.assign(how="is gone"), self.changed.assign(how="has changed")])
        odd = odd[odd["split"].isin(list(splits))]
        if len(odd):
            named = ", ".join(f"{path} {how}" for path, how in zip(odd["path"][:_SHOWN], odd["how"], strict=False))
            more = f", ... ({len(odd):,} pictures)" if len(odd) > _SHOWN else ""
            raise BadInput(
                f"{what}: {self.split.name} is no longer what the run was trained on: {named}{more}; "
                "put back what was there, or train anew"
            )


def own_pictures(run: Run, folder: Path, data: schema.Data) -> OwnPictures:
    """The pictures of a run whose files are in `folder`, as the kept split says.

    A run without a kept split (of an earlier version) has the pictures that it would be given anew where these are
    the same by its digest; else those of val and test that it left answers for, and none of train. Raises BadInput
    where it left nothing to tell them by.
    """
    kept = _kept(run, folder, data)
    today = _today(data)
    classes = _classes(folder, kept, today)
    every, held = today, kept_unseen(folder)
    today = today.with_classes([name for name in classes if name in set(today.classes)])
    places = pd.Index(today.rows["path"]).get_indexer(pd.Index(kept["path"]))
    found = places >= 0
    every, unseen = apart(every, [name for name in held if name in set(every.classes)])
    could_be_new = every if data.classes is None and data.small_classes != "drop" else today
    split = today.take(places[found])
    split = split.with_rows(split.rows.assign(split=_as_splits(kept["split"][found])))
    edited = _edited(split, kept[found])
    changed = np.zeros(len(kept), dtype=bool)
    changed[found] = edited | (split.rows["label"].astype("str").to_numpy() != kept["label"][found].to_numpy())
    return OwnPictures(
        split=split,
        table=split.take(_used(kept, found, classes, data)),
        unedited=split.take(np.flatnonzero(~edited)),
        vanished=kept.loc[~found, ["path", "split"]],
        changed=kept.loc[changed, ["path", "split"]],
        new=int((~could_be_new.rows["path"].isin(kept["path"])).sum()),
        unseen=unseen,
    )


def _kept(run: Run, folder: Path, data: schema.Data) -> pd.DataFrame:
    """Columns `path`, `label`, `split` and, where it is known, `digest`, in the run's order."""
    kept = kept_split(folder)
    if kept is not None:
        return kept
    try:
        anew = build.split_pictures(data.model_copy(update={"split": data.split.model_copy(update={"save": None})}))
        if data_digest(build.picture_table(data, anew)) == run.data.tags.get("data_digest"):
            return anew.rows[["path", "label", "split"]].astype("str")
    except BadInput:
        pass  # that pictures cannot be split as they were says that they differ
    answered = {name: folder / "predictions" / f"{name}.parquet" for name in ("val", "test")}
    said = {name: read_predictions(file) for name, file in answered.items() if file.is_file()}
    if not said:
        raise BadInput(
            f"run {label(run)} kept no split, and {data.name} has changed since: which pictures were its own is not "
            "known; name pictures with data=..., or train anew"
        )
    return pd.concat(
        pd.DataFrame({"path": one.ids.astype(str), "label": [one.classes[code] for code in one.labels], "split": name})
        for name, one in said.items()
    ).reset_index(drop=True)


def _today(data: schema.Data) -> PictureTable:
    """All that is there, whatever is wrong with some of it: what the run had and cannot be used now, has vanished."""
    table = build.read_pictures(data, "skip")
    return table if data.on_unreadable == "skip" else replace(table, skipped={})


def _classes(folder: Path, kept: pd.DataFrame, today: PictureTable) -> list[str]:
    """The run's classes in their order."""
    checkpoints = folder / "checkpoints"
    if (checkpoints / BEST_FACTS).is_file():
        return list(read_facts(checkpoints).classes)
    named = set(kept["label"])
    return [name for name in today.classes if name in named]


def _as_splits(names: pd.Series) -> pd.Categorical:
    return pd.Categorical(names, categories=list(SPLITS))


def _edited(split: PictureTable, kept: pd.DataFrame) -> np.ndarray:
    """(n,) whether a picture has another content than it had; earlier versions kept no word of that."""
    if "digest" not in kept:
        return np.zeros(len(kept), dtype=bool)
    then = np.array([int(text, 16) for text in kept["digest"]], dtype=np.uint64)
    return np.asarray(picture_digests(split, np.arange(len(kept))) != then, dtype=bool)


def _used(kept: pd.DataFrame, found: np.ndarray, classes: list[str], data: schema.Data) -> np.ndarray:
    """Which rows of what was `found` the run used, in its order.

    Chosen among all that it had, as chance would choose others among those that are left.
    """
    rows = pd.DataFrame({
        "path": kept["path"], "label": pd.Categorical(kept["label"], categories=classes),
        "split": _as_splits(kept["split"]), "place": np.arange(len(kept)),
    })  # fmt: skip
    whole = PictureTable(data.name, rows)
    used = build.used_of(data, whole)
    places = used.rows["place"].to_numpy()
    return (np.cumsum(found) - 1)[places[found[places]]]
