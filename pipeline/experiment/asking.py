"""Asking a finished model about pictures of which nothing is known: the rows of `predict`'s answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.beside.files import with_files_beside
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.beside.set_by_hand import check_set, with_attributes_set
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.joining import looked_at, with_boxes
from pipeline.data.files import cell_text
from pipeline.data.groups import with_groups
from pipeline.data.table import PictureTable
from pipeline.data.unlabelled import unlabelled_table
from pipeline.evaluation.counting import kept
from pipeline.evaluation.familiar import Usual, together
from pipeline.evaluation.lapse import Lapse, lapse
from pipeline.experiment.together import Tally, Waiting, codes
from pipeline.serving.answers import Answer, Wanted, answers, digest, probabilities_of
from pipeline.serving.described import Described
from pipeline.serving.only import among, listed, of_regions
from pipeline.serving.seen import Seen, unknown_among

log = logging.getLogger("pipeline.predict")


class Asked(NamedTuple):
    """What is said of the pictures `rows` (n,) of a table, and how answers to them are given reasons, where any are."""

    rows: np.ndarray
    seen: Seen
    with_reasons: Callable[[list[Answer]], list[Answer]]


# Asks a model about those of some rows that can be read, some at a time.
Ask = Callable[[PictureTable, np.ndarray, Wanted, schema.Predict], Iterator[Asked]]


class Told(NamedTuple):
    """`rows` of answers, and in what the pictures differ from val's, where it can be told."""

    rows: list[dict[str, Any]]
    lapse: Lapse | None


def answered(
    model: Described, ask: Ask, pictures: Sequence[Path], config: schema.Predict, tally: Tally | None = None
) -> Told:
    """A row a picture, or an animal where a detector's boxes are named: `picture`, and what is said of it.

    In the pictures' order, without those that cannot be read where on_unreadable=skip. A picture in which no animal was
    found is `blank`, or what was found else, and the network is not asked. BadInput where none can be read. What a
    `tally` is there for goes to it, too.
    """
    wanted = asked_of(model, config)
    table = asked_table(model, pictures, config)
    if config.group is not None:
        if config.explain:
            raise BadInput("explain=true: of a group there is no one picture to show; leave out group or explain")
        table = with_groups(table, config.group, "group")
    shows, asked = kinds(table), animals(table)
    said, noted = dict[int, Answer](), list[Usual]()
    for only, some in by_region(model, table, asked, config):
        said |= _ask(
            model, ask, table, some, wanted if only is None else replace(wanted, only=only), config, noted, tally
        )
    rows = []
    typed = dict(zip(unlabelled_table(pictures).rows["path"], map(str, pictures), strict=True))
    for row, file in enumerate(table.files):
        place: dict[str, Any] = {"picture": typed[file]}
        if row in said:
            by_hand = {SET_BY_HAND: table.rows[SET_BY_HAND].iloc[row]} if SET_BY_HAND in table.rows else {}
            rows.append(place | said[row].to_row() | by_hand | _group(table, row, config) | _box(table, row, config))
        elif shows.iloc[row] != "animal":
            rows.append(place | {"label": shows.iloc[row], "probability": None} | _box(table, row, config))
    for path, reason in table.skipped.items():
        log.warning("skipped: %s %s", Path(table.root or "", path), reason)
    if not rows:
        raise BadInput(f"images={config.images}: none of {len(pictures):,} pictures can be read")
    return Told(rows, lapse_of(model, noted))


def asked_of(model: Described, config: schema.Predict) -> Wanted:
    """What each picture is asked. BadInput for what the model does not know or cannot promise."""
    if model.calibration.depth(config.answers.error) is None:
        log.info("this model promises no rank: promote its run again for the columns taxon and rank")
    if model.known is None and config.answers.known_sent_away is None:
        log.info("this model cannot tell what is unknown to it: the column unknown stays blank; train its run again")
    unknown_among(model, Seen(np.zeros((0, len(model.classes)), np.float32)), config.answers.known_sent_away)
    only: list[str] = []
    if config.answers.only is not None and config.answers.region is None:
        only, lacking = listed(config.answers.only, model.called)
        inside = among(only, model.called, len(model.classes), "answers.only")
        unknown = f"; {lacking} names of the list are not" if lacking else ""
        log.info("answers.only: %d of the model's %d classes can be the answer%s", inside.sum(), len(inside), unknown)
    return Wanted(
        config.top_k, config.coverage, config.min_probability, config.answers.error, tuple(only),
        config.answers.known_sent_away, config.explain,
    )  # fmt: skip


def in_words(found: Lapse, model: Described, config: schema.Predict) -> str:
    """That pictures differ from val's, in what, and which promises that touches."""
    promises, known = ["probabilities"], model.known
    if depth := model.calibration.depth(config.answers.error):
        promises.append(f"at most {percent(depth[0], 0)} of taxa wrong")
    if known and (away := known.strangeness.sends_away(config.answers.known_sent_away)):
        promises.append(f"at most {percent(away[0], 0)} of known pictures called unknown")
    if config.coverage is not None:
        promises.append(f"{percent(config.coverage, 0)} of sets hold the right label")
    sure = "less" if found.less_sure else "no less"
    return (
        f"these pictures differ from val's in {found.shown_by} (p {'< 0.001' if found.p < 0.001 else f'{found.p:.3f}'};"
        f" the model is {sure} sure of them), so that what was promised may not hold ({', '.join(promises)}): look "
        "through some, or train with pictures like these"
    )


def by_region(
    model: Described, table: PictureTable, asked: np.ndarray, config: schema.Predict
) -> Iterator[tuple[tuple[str, ...] | None, np.ndarray]]:
    """The rows of `asked` (k,) that one list of names is for, and that list; None where `answers.region` names none.

    BadInput for a region that the table of regions lacks. Pictures without a region are counted: anything can be there.
    """
    region = config.answers.region
    if region is None or not len(asked):
        if len(asked):
            yield None, asked
        return
    if region not in table.further:
        (names,) = of_regions(config.answers.only, [region], model.called).values()
        log.info("answers.region: %s of the list live in %s", counted(len(names), "name"), region)
        yield tuple(names), asked
        return
    here = table.rows[region].iloc[asked].map(cell_text).to_numpy()
    found = of_regions(config.answers.only, sorted(set(here) - {""}), model.called)
    if blank := int((here == "").sum()):
        log.info("answers.region: %s without a %s, where anything can live", counted(blank, "picture"), region)
    for one in dict.fromkeys(here.tolist()):
        yield tuple(found.get(one, ())), asked[here == one]


def of_pictures(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows of animals one a picture: its likeliest label, how many animals it shows, and how many of each.

    The likeliest is what the network and the detector are together surest of.
    """
    frame = pd.DataFrame(rows)
    frame["sure"] = frame["probability"].fillna(0) * frame["box_confidence"].fillna(1)
    found = []
    for picture, animals in frame.groupby("picture", sort=False):
        best = animals.loc[animals["sure"].idxmax()]
        shown = animals["label"][animals["probability"].notna()].value_counts()
        counts = "; ".join(f"{label}: {number}" for label, number in shown.items())
        one = {"picture": picture, "label": best["label"], "probability": best["probability"]}
        one |= {"animals": int(shown.sum()), "labels": counts}
        found.append(one | {name: best[name] for name in ("answered", "taxon", "rank", "unknown") if name in frame})
    return found


def kinds(table: PictureTable) -> pd.Series:
    """What each row shows, as a detector says it: an `animal` where none was asked."""
    return table.rows.get("box_category", pd.Series("animal", index=table.rows.index)).fillna("animal")


def animals(table: PictureTable) -> np.ndarray:
    """The rows (k,) that a network is to be asked about."""
    return np.flatnonzero((kinds(table) == "animal").to_numpy())


def asked_table(model: Described, pictures: Sequence[Path], config: schema.Asking) -> PictureTable:
    """The pictures, with what is known beside them and the boxes that the model looks at."""
    table = unlabelled_table(pictures)
    if config.beside is not None:
        table = table.with_rows(with_files_beside(table.rows, table.root, [config.beside], "beside"))
    if config.attributes is not None:
        given = with_attributes_set(table.rows, table.root, config.attributes, model.attributes, "attributes")
        table = table.with_rows(given)
    check_set(table.rows, model.attributes)
    if config.boxes is not None:
        if not model.looks_at_boxes:
            raise BadInput(
                "boxes: the model looks at whole pictures, so that boxes change nothing; train one with "
                "data.crop=square, or leave them out"
            )
        return looked_at(with_boxes(table, config.boxes, config.box_confidence, "boxes"), "shares", unit_key="")
    if model.looks_at_boxes and set(COLUMNS).intersection(table.rows):
        return looked_at(table, config.box_unit, unit_key="box_unit")
    return table


def _ask(
    model: Described, ask: Ask, table: PictureTable, asked: np.ndarray, wanted: Wanted, config: schema.Predict,
    noted: list[Usual], tally: Tally | None,
) -> dict[int, Answer]:  # fmt: skip
    """The answers by row, of those of `asked` (k,) that can be read; `noted` is of them by what folders differ."""
    said = dict[int, Answer]()
    groups = None if config.group is None else codes(table, config.group)
    asked = asked if groups is None else asked[np.argsort(groups[asked], kind="stable")]
    waiting = Waiting(model, wanted, tally)
    for rows, seen, with_reasons in ask(table, asked, wanted, config):
        digests = [digest(Path(one).read_bytes()) if wanted.coverage else "" for one in table.sources(rows)]
        noted.append(Usual(seen.confidence(model.calibration.temperature), seen.looks))
        if groups is not None:
            said |= waiting.told(rows.tolist(), seen, digests, groups)
            continue
        made = answers(model, seen, digests, wanted)
        if tally is not None:
            known = [not one.unknown for one in made]
            tally.append(kept(probabilities_of(model, seen.scores, wanted)[0][known]))
        said |= dict(zip(rows.tolist(), with_reasons(made), strict=True))
    return said | waiting.last()


def lapse_of(model: Described, noted: Sequence[Usual]) -> Lapse | None:
    """In what pictures differ from val's, by what was noted of them; None where that cannot be told."""
    if model.known is None or not noted:
        return None
    looks = [one.looks for one in noted if one.looks is not None]
    confidence = np.concatenate([one.confidence for one in noted])
    return lapse(model.known.usual, confidence, together(looks) if looks else None)


def _group(table: PictureTable, row: int, config: schema.Predict) -> dict[str, Any]:
    """Which pictures were answered as one, by the name of their group; nothing of one that is alone."""
    return {} if config.group is None else {"group": table.rows[config.group].iloc[row]}


def _box(table: PictureTable, row: int, config: schema.Predict) -> dict[str, Any]:
    """What was looked at, as shares of the picture, where a detector said it."""
    if config.boxes is None or table.boxes is None:
        return {}
    box = (None if np.isnan(share) else round(float(share), 4) for share in table.boxes[row])
    sure = table.rows["box_confidence"].iloc[row]
    return dict(zip(COLUMNS, box, strict=True)) | {"box_confidence": None if pd.isna(sure) else round(float(sure), 4)}
