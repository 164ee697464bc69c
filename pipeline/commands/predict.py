"""Name what is on pictures:   python -m pipeline.predict images=~/new-photos"""

from __future__ import annotations

import logging
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import vstack

from pipeline.cli.output import check_output
from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.common.wording import counted, percent
from pipeline.config import schema
from pipeline.data.files import existing, write_csv
from pipeline.data.unlabelled import find_pictures
from pipeline.evaluation.counting import counts
from pipeline.evaluation.lapse import LEVEL
from pipeline.experiment.asking import Ask, answered, in_words, of_pictures
from pipeline.experiment.together import Tally
from pipeline.reporting.tables import Table
from pipeline.reporting.terminal import console
from pipeline.serving.answers_file import holds_answers, read_answers, write_answers
from pipeline.serving.described import Described
from pipeline.serving.published import check_also, write_also
from pipeline.serving.review import check_folders, corrections, merged, put_into_folders
from pipeline.serving.taxon import answer_in_words

log = logging.getLogger("pipeline.predict")
_SHOWN = 20  # rows in the terminal; the CSV has all


def run(config: schema.Predict) -> None:
    """Ask the champion about a picture or a folder; a table in the terminal and a CSV."""
    if config.corrected is not None:
        take_corrections(config)
        return
    if config.images is None:
        raise BadInput("images: name a picture or a folder of them, as in images=~/new-photos")
    pictures = find_pictures(config.images)
    output = check_output(config.output, ".csv", "answers", holds_answers, pictures)
    folder = None if config.folders is None else check_folders(config.folders, pictures)
    check_also(config.also, config.camtrap_dp)
    model, ask, address = opened(config)
    tally = tally_of(model, output) if config.counts else None
    rows, lapse = answered(model, ask, pictures, config, tally)
    show(rows, config)  # first, as the file may not be taken
    write_answers(rows, output)
    more = f" (the first {_SHOWN} are shown)" if len(rows) > _SHOWN else ""
    log.info("%s in %s%s", counted(len(rows), "answer"), config.output, more)
    if tally is not None:
        write_counts(tally, model, output)
    root = expanded(config.images, "images")
    root = root if root.is_dir() else root.parent
    for name in write_also(rows, output, config.also, root, address, config.camtrap_dp):
        log.info("also: %s", name)
    whole = rows if config.boxes is None else of_pictures(rows)
    if config.boxes is not None:
        write_answers(whole, by_picture(output))
        log.info("%s in %s", counted(len(whole), "picture"), by_picture(output).name)
    if folder is not None:
        put = put_into_folders(whole, folder, config.folders_by)
        log.info("%s put into %s; what somebody dragged there stays", counted(put, "picture"), config.folders)
    if lapse is not None and lapse.p < LEVEL:
        log.warning("warning: %s", in_words(lapse, model, config))


def tally_of(model: Described, output: Path) -> Tally:
    """What to count from. BadInput where the model cannot, or the counts' file holds something else."""
    if not model.calibration.shares:
        raise BadInput("counts=true: this model does not know how frequent its classes were; promote its run again")
    check_output(str(counts_file(output)), ".csv", "counts", holds_counts)
    return []


def write_counts(tally: Tally, model: Described, output: Path) -> None:
    """How many there are of each class: a CSV beside the answers, and the first of it in the terminal."""
    if not sum(some.shape[0] for some in tally):
        log.info("counts: there is nothing to count, as no network was asked, or all is unknown")
        return
    table = counts(vstack(tally).tocsr(), np.array(model.calibration.shares), model.classes)
    write_atomically(counts_file(output), lambda path: write_csv(table, path), shared=True)
    body = [
        [row.label, f"{row.answers:,}", f"{row.estimate:,.0f}", f"{row.low:,.0f} to {row.high:,.0f}"]
        for row in table.head(_SHOWN).itertuples()
    ]
    Table(["label", "answers", "estimate", "95 %"], body, figures={"answers", "estimate", "95 %"}).show(console())
    log.info("how many there are of %s: %s", counted(len(table), "class"), counts_file(output).name)


def counts_file(output: Path) -> Path:
    """Where the counts lie that belong to a file of answers."""
    return output.with_name(f"{output.stem}_counts.csv")


def holds_counts(path: Path) -> bool:
    """Whether a file is an earlier one of counts."""
    with path.open("rb") as file:
        return file.read(22) == b"label,answers,estimate"


def take_corrections(config: schema.Predict) -> None:
    """Write into the CSV of answers what was made of their folders."""
    found = corrections(str(config.corrected))
    output = expanded(config.output, "output")
    output = by_picture(output) if by_picture(output).is_file() else output
    if not output.is_file():
        raise BadInput(f"output={config.output}: there is no such file; name the CSV of the answers in those folders")
    made, strange = merged(read_answers(output), found)
    if strange:
        log.warning("%s in %s are not in %s", counted(strange, "picture"), config.corrected, output.name)
    write_atomically(output, lambda path: write_csv(made, path), shared=True)
    checked = found["corrected"].notna().sum()
    log.info("%s checked, %d of them corrected: %s", counted(len(found), "picture"), checked, output.name)


def by_picture(output: Path) -> Path:
    """The file of one answer a picture, where the other has one an animal."""
    return output.with_name(f"{output.stem}_pictures.csv")


def opened(config: schema.Predict) -> tuple[Described, Ask, str]:
    """The model asked for, how it is asked, and its address.

    An exported file is asked without PyTorch and MLflow, which take seconds to import and need not be there.
    """
    if config.model is None or not config.model.endswith(".onnx"):
        from pipeline.commands.served_model import load
        from pipeline.experiment.asking_networks import ask_networks

        bundle, address = load(config)
        return bundle, partial(ask_networks, bundle), address
    if find_spec("onnxruntime") is None:
        raise BadInput(f"model={config.model}: onnxruntime is not installed: pip install onnxruntime")
    from pipeline.experiment.asking_file import ask_file
    from pipeline.serving.onnx_file import OnnxFile

    file = OnnxFile.read(existing(config.model, "model", "exported file"))
    return file, partial(ask_file, file), config.model


def show(rows: list[dict[str, Any]], config: schema.Predict) -> None:
    """The first answers as a table, pictures by their place in the folder that was asked about."""
    folder = expanded(str(config.images), "images")
    said = ("answer", "how sure") if any("taxon" in one for one in rows) else ("label", "probability")
    heads = ["picture", *said, *(name for name in ("set", "answered") if name in rows[0])]
    body = []
    for one in rows[:_SHOWN]:
        path = Path(one["picture"])
        cells = (
            one
            | answer_in_words(one)
            | {
                "picture": str(path.relative_to(folder)) if folder.is_dir() else path.name,
                "probability": percent(one["probability"]),
                "answered": "yes" if one.get("answered") else "no",
            }
        )
        body.append([cells.get(name, "") for name in heads])
    Table(heads, body, whole={"probability", "how sure"}).show(console())
