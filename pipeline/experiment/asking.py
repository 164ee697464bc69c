"""Asking a finished model about pictures of which nothing is known: the rows of `predict`'s answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.beside.files import with_files_beside
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.beside.set_by_hand import check_set, with_attributes_set
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.joining import looked_at, with_boxes
from pipeline.data.files import cell_text
from pipeline.data.groups import with_groups
from pipeline.data.survey.measure import to_jpeg
from pipeline.data.table import PictureTable
from pipeline.data.unlabelled import unlabelled_table
from pipeline.evaluation.counting import kept
from pipeline.evaluation.familiar import Usual, together
from pipeline.evaluation.lapse import Lapse, lapse
from pipeline.experiment.build import memory_in_one_line
from pipeline.experiment.groups import Tally, Waiting, codes
from pipeline.experiment.inference import pictures as as_seen
from pipeline.experiment.inference import scored
from pipeline.explaining.drawing import overlay
from pipeline.explaining.places import check_looked_at
from pipeline.serving.answers import Answer, Wanted, answers, digest, probabilities_of, with_reasons
from pipeline.serving.bundle import Bundle
from pipeline.serving.only import among, listed, of_regions
from pipeline.serving.seen import Seen, seen_of, unknown_among
from pipeline.training.hardware import make_fabric

log = logging.getLogger("pipeline.predict")


class Told(NamedTuple):
    """`rows` of answers, and in what the pictures differ from val's, where it can be told."""

    rows: list[dict[str, Any]]
    lapse: Lapse | None


def answered(bundle: Bundle, pictures: Sequence[Path], config: schema.Predict, tally: Tally | None = None) -> Told:
    """A row a picture, or an animal where a detector's boxes are named: `picture`, and what is said of it.

    In the pictures' order, without those that cannot be read where on_unreadable=skip. A picture in which no animal was
    found is `blank`, or what was found else, and the network is not asked. BadInput where none can be read. What a
    `tally` is there for goes to it, too.
    """
    wanted = asked_of(bundle, config)
    table = asked_table(bundle, pictures, config)
    if config.group is not None:
        if config.explain:
            raise BadInput("explain=true: of a group there is no one picture to show; leave out group or explain")
        table = with_groups(table, config.group, "group")
    shows, asked = kinds(table), animals(table)
    said, noted = dict[int, Answer](), list[Usual]()
    for only, some in by_region(bundle, table, asked, config):
        said |= _ask(bundle, table, some, wanted if only is None else replace(wanted, only=only), config, noted, tally)
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
    return Told(rows, lapse_of(bundle, noted))


def asked_of(bundle: Bundle, config: schema.Predict) -> Wanted:
    """What each picture is asked. BadInput for what the model does not know or cannot promise."""
    if bundle.calibration.depth(config.answers.error) is None:
        log.info("this model promises no rank: promote its run again for the columns taxon and rank")
    if bundle.known is None and config.answers.known_sent_away is None:
        log.info("this model cannot tell what is unknown to it: the column unknown stays blank; train its run again")
    unknown_among(bundle, Seen(torch.zeros(0, len(bundle.classes))), config.answers.known_sent_away)
    only: list[str] = []
    if config.answers.only is not None and config.answers.region is None:
        only, lacking = listed(config.answers.only, bundle.called)
        inside = among(only, bundle.called, len(bundle.classes), "answers.only")
        unknown = f"; {lacking} names of the list are not" if lacking else ""
        log.info("answers.only: %d of the model's %d classes can be the answer%s", inside.sum(), len(inside), unknown)
    return Wanted(
        config.top_k, config.coverage, config.min_probability, config.answers.error, tuple(only),
        config.answers.known_sent_away, config.explain,
    )  # fmt: skip


def in_words(found: Lapse, bundle: Bundle, config: schema.Predict) -> str:
    """That pictures differ from val's, in what, and which promises that touches."""
    promises, known = ["probabilities"], bundle.known
    if depth := bundle.calibration.depth(config.answers.error):
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
    bundle: Bundle, table: PictureTable, asked: np.ndarray, config: schema.Predict
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
        (names,) = of_regions(config.answers.only, [region], bundle.called).values()
        log.info("answers.region: %s of the list live in %s", counted(len(names), "name"), region)
        yield tuple(names), asked
        return
    here = table.rows[region].iloc[asked].map(cell_text).to_numpy()
    found = of_regions(config.answers.only, sorted(set(here) - {""}), bundle.called)
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


def asked_table(bundle: Bundle, pictures: Sequence[Path], config: schema.Asking) -> PictureTable:
    """The pictures, with what is known beside them and the boxes that the model looks at."""
    table = unlabelled_table(pictures)
    if config.beside is not None:
        table = table.with_rows(with_files_beside(table.rows, table.root, [config.beside], "beside"))
    if config.attributes is not None:
        given = with_attributes_set(table.rows, table.root, config.attributes, bundle.attributes, "attributes")
        table = table.with_rows(given)
    check_set(table.rows, bundle.attributes)
    if config.boxes is not None:
        if not bundle.looks_at_boxes:
            raise BadInput(
                "boxes: the model looks at whole pictures, so that boxes change nothing; train one with "
                "data.crop=square, or leave them out"
            )
        return looked_at(with_boxes(table, config.boxes, config.box_confidence, "boxes"), "shares", unit_key="")
    if bundle.looks_at_boxes and set(COLUMNS).intersection(table.rows):
        return looked_at(table, config.box_unit, unit_key="box_unit")
    return table


def _ask(
    bundle: Bundle, table: PictureTable, asked: np.ndarray, wanted: Wanted, config: schema.Predict, noted: list[Usual],
    tally: Tally | None,
) -> dict[int, Answer]:  # fmt: skip
    """The answers by row, of those of `asked` (k,) that can be read; `noted` is of them by what folders differ."""
    looked = looked_folder(expanded(config.output, "output"))
    if wanted.explain:
        check_looked_at(bundle.members)
        if looked.exists() and not looked.is_dir():
            raise BadInput(f"explain=true: {looked} is no folder, where pictures are to be put; name another output=")
        looked.mkdir(exist_ok=True)
    runner = schema.Runner(batch_size=config.batch_size, precision="fp32", accelerator="auto", num_workers=None)
    fabric = make_fabric(runner.accelerator, runner.precision)
    said = dict[int, Answer]()
    groups = None if config.group is None else codes(table, config.group)
    asked = asked if groups is None else asked[np.argsort(groups[asked], kind="stable")]
    waiting = Waiting(bundle, wanted, tally)
    seen = as_seen(bundle.members, table, asked, runner, on_unreadable=config.on_unreadable)
    with memory_in_one_line(config.batch_size, "batch_size"):
        for some, found in scored(bundle.members, bundle.rule, seen, fabric, what="ask"):
            here = table.sources(some.rows.numpy())
            digests = [digest(Path(one).read_bytes()) if wanted.coverage else "" for one in here]
            looked_like = seen_of(bundle, found)
            noted.append(Usual(looked_like.confidence(bundle.calibration.temperature), looked_like.looks))
            if groups is not None:
                said |= waiting.told(some.rows.tolist(), looked_like, digests, groups)
                continue
            made = answers(bundle, looked_like, digests, wanted)
            if tally is not None:
                known = [not one.unknown for one in made]
                tally.append(kept(probabilities_of(bundle, looked_like.scores, wanted)[0][known]))
            if wanted.explain:
                made = with_reasons(bundle, made, some.inputs)
                made = [_shown(one, row, table, looked) for one, row in zip(made, some.rows.tolist(), strict=True)]
            said |= dict(zip(some.rows.tolist(), made, strict=True))
    return said | waiting.last()


def lapse_of(bundle: Bundle, noted: Sequence[Usual]) -> Lapse | None:
    """In what pictures differ from val's, by what was noted of them; None where that cannot be told."""
    if bundle.known is None or not noted:
        return None
    looks = [one.looks for one in noted if one.looks is not None]
    confidence = np.concatenate([one.confidence for one in noted])
    return lapse(bundle.known.usual, confidence, together(looks) if looks else None)


def looked_folder(output: Path) -> Path:
    """Where pictures of where a model looked lie, beside the file of its answers."""
    return output.with_name(f"{output.stem}_looked_at")


def _shown(said: Answer, row: int, table: PictureTable, folder: Path) -> Answer:
    """An answer that names the picture of its reasons, written by now, from the folder above on."""
    assert said.reasons is not None
    file = folder / f"{row + 1:05}_{Path(table.rows['path'].iloc[row]).stem}.jpg"
    file.write_bytes(to_jpeg(overlay(said.reasons.look)))
    return replace(said, reasons=replace(said.reasons, file=f"{folder.name}/{file.name}"))


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
