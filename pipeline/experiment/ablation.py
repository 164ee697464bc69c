"""Is it the picture, or the column? A network asked without what comes beside pictures, or with it mixed up."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from pipeline.common.names import safe_name
from pipeline.common.progress import watch
from pipeline.common.wording import percent, signed
from pipeline.config import schema
from pipeline.data.batch import NOTHING, Inputs
from pipeline.data.beside.registry import columns_of
from pipeline.data.files import write_csv
from pipeline.data.survey.columns import determined
from pipeline.evaluation.statistics import paired_tests
from pipeline.experiment.backbones import beside_digest
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import learning, stages
from pipeline.models.heads.logistic import LogisticRegression
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.finished import COLUMNS_FILE
from pipeline.tracking.runs import TrackedRun
from pipeline.training.loop import layout_of

WITH, WITHOUT, MIXED, ALONE = "with", "without", "mixed up", "alone"
_MOST_COLUMNS = 20  # that are mixed up one by one
_ENOUGH = 20_000  # training pictures teach what columns alone can say

log = logging.getLogger("pipeline.train")


def tell_columns(prepared: Prepared) -> dict[str, str]:
    """Warn, before training, of columns that determine the class, or that it determines; tags that say so too.

    And one of what is known, by which it is seen later whether that has changed.
    """
    table, beside = prepared.table, prepared.network.spec.beside
    rows, said = table.where("train"), {"beside_digest": beside_digest(beside, table)} if beside else {}
    for column in columns_of([beside]):
        if line := determined(column, table.rows[column].iloc[rows], table.labels[rows]):
            log.warning("warning: %s", line)
            said[f"data.determined.{safe_name(column)}"] = line
    return said


def tell_picture_or_column(
    config: schema.Train, prepared: Prepared, run: TrackedRun, split: str, answered: Predictions
) -> None:
    """Set what the network `answered` for a split beside its answers without the columns, and the columns' alone.

    A table among the run's files, with paired tests; metrics; a line each in the log. Nothing where no column is given.
    """
    if not prepared.network.join or not len(answered):
        return
    found = {WITH: answered, **_asked(config, prepared, split), ALONE: _alone(prepared, answered)}
    tests = paired_tests(found, against=WITH).set_index("other")
    right = {name: float(one.correct.mean()) for name, one in found.items()}
    rows = [{"columns": WITH, "split": split, "n": len(answered), "accuracy": right[WITH]}]
    for name in list(found)[1:]:
        test = tests.loc[name]
        rows.append(rows[0] | {
            "columns": name, "accuracy": right[name], "behind": test["difference"], "low": test["low"],
            "high": test["high"], "p": test["p_holm"],
        })  # fmt: skip
        log.info(
            "columns %s: %s right on %s, %s points beside with them [%s, %s]", name, percent(right[name]), split,
            signed(-test["difference"]), signed(-test["high"]), signed(-test["low"]),
        )  # fmt: skip
    write_csv(pd.DataFrame(rows), run.folder / COLUMNS_FILE)
    run.log_metrics({
        f"{split}/accuracy_without": right[WITHOUT], f"{split}/accuracy_columns_alone": right[ALONE],
        f"{split}/importance": right[WITH] - right[MIXED],
    })  # fmt: skip


def _asked(config: schema.Train, prepared: Prepared, split: str) -> dict[str, Predictions]:
    """What the network says where nothing is known beside the pictures, or all of it, or a column, is another's."""
    rows, given = prepared.table.where(split), prepared.beside
    ways = {WITHOUT: NOTHING, MIXED: _mixed(prepared.beside, rows, None)}
    parts = _parts(prepared)
    for field, name in parts.items() if 1 < len(parts) <= _MOST_COLUMNS else ():
        ways[f"{MIXED}: {name}"] = _mixed(given, rows, field)
    return _answers(config, prepared, split, ways)


def _parts(prepared: Prepared) -> dict[tuple[str, int], str]:
    """Field and place of each value that is known of a picture, and the column that it comes from."""
    return {
        (kind.name, place): column
        for kind in prepared.network.spec.beside
        for place, column in enumerate(kind.columns)
        if kind.depth == len(kind.columns)
    }


def _mixed(given: Inputs, rows: np.ndarray, part: tuple[str, int] | None) -> Inputs:
    """What is known of the table's pictures, among `rows` handed round by chance: all of it together, or one value."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(rows))
    here, mixed = torch.from_numpy(rows), {}
    for name, values in given._asdict().items():
        if values is None or (part and part[0] != name):
            continue
        mixed[name] = values.clone()
        if part:
            mixed[name][here, part[1]] = values[order, part[1]]
        else:
            mixed[name][here] = values[order]
    return given._replace(**mixed)


@torch.inference_mode()
def _answers(
    config: schema.Train, prepared: Prepared, split: str, ways: Mapping[str, Inputs]
) -> dict[str, Predictions]:
    """The network's answers for each of the `ways` in which something is known; its backbone is asked once."""
    network, fabric, table = prepared.network, prepared.fabric, prepared.table
    _, batches = learning(config, prepared, stages(config)[-1].phase)
    fabric.to_device(network).eval()
    layout, paths = layout_of(network), table.rows["path"].to_numpy()
    found = {name: PredictionsBuilder(table.classes) for name in ways}
    for number, batch in enumerate(watch(batches(split), "without columns")):
        if config.trainer.limit_batches and number >= config.trainer.limit_batches:
            break
        with fabric.autocast():
            features = Inputs(features=network.features(batch.inputs.to(fabric.device, layout)))
            for name, known in ways.items():
                logits = network(known.take(batch.rows).to(fabric.device).also(features))
                found[name].add(paths[batch.rows.numpy()], batch.labels, logits.float())
    return {name: one.finish() for name, one in found.items()}


@torch.inference_mode()
def _alone(prepared: Prepared, answered: Predictions) -> Predictions:
    """What the columns say of the same pictures by themselves: logistic regression on their codes, learned on train."""
    table, join = prepared.table, prepared.network.join
    assert join
    train = table.where("train")
    some = np.random.default_rng(0).permutation(train)[:_ENOUGH]
    head = LogisticRegression(join.width, len(table.classes), C=1.0)

    def codes(rows: np.ndarray) -> torch.Tensor:
        return join.codes(prepared.beside.take(rows), torch.empty(len(rows)))

    head.fit(codes(some), torch.from_numpy(table.labels[some]))
    places = table.rows_of(answered.ids.tolist())
    rows, found = np.array([places[one] for one in answered.ids]), PredictionsBuilder(table.classes)
    for part in np.array_split(rows, max(1, len(rows) // _ENOUGH)):
        logits = head(codes(part))
        found.add(table.rows["path"].to_numpy()[part], table.labels[part], logits)
    return found.finish()
