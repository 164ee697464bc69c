"""How well a run's network reads attributes, where its classes follow from them, and how good its reasons are."""

from __future__ import annotations

import logging
from itertools import islice

import numpy as np
import torch

from pipeline.common.progress import watch
from pipeline.config import schema
from pipeline.data.attributes import by_picture
from pipeline.data.files import write_csv
from pipeline.evaluation.agreement import Agreement, mean_by_class
from pipeline.evaluation.attributes import attribute_table, mean_auc
from pipeline.experiment.build import Prepared
from pipeline.experiment.knowledge import tell_knowledge
from pipeline.experiment.question_tree import tell_tree
from pipeline.experiment.stages import learning, stages
from pipeline.models.heads.concepts import Concepts
from pipeline.tracking.runs import TrackedRun
from pipeline.training.loop import layout_of

_MOST = 20_000  # pictures that the tree is learnt from
log = logging.getLogger("pipeline.train")


@torch.inference_mode()
def tell_attributes(config: schema.Train, prepared: Prepared, run: TrackedRun, split: str) -> None:
    """Measure what the network reads of the attributes of a split's pictures, against what their classes have, and
    whether the reasons of its answers agree with what is known of the classes that it answers.
    """
    if not isinstance(prepared.network.head, Concepts):
        return
    given, labels, rows = given_to_head(config, prepared, split)
    some, _, _ = given_to_head(config, prepared, "train", training=True, most=_MOST)
    head = prepared.network.cpu().head
    assert isinstance(head, Concepts)
    concepts, direct, table = head.concepts(given), head.direct(given), prepared.table
    own = by_picture(table, head.attributes, table.rows["path"].iloc[rows.numpy()].tolist())
    truth, of = (head.signatures.numpy(), labels) if own is None else (own.to_numpy(), torch.arange(len(rows)))
    tell_how_well_read(head, concepts.numpy(), truth, of.numpy(), run, split)
    answered = head.of_concepts(concepts, direct).argmax(1)
    tell_agreement(head, concepts, answered, prepared.table.classes, run, split)
    tell_tree(head, prepared.table.classes, run, split, some, concepts, answered)
    tell_knowledge(head, prepared.table.classes, run, split, labels, answered)
    if head.rules is not None:
        tell_overruled(head, concepts, direct, labels, run, split)
    if head.beside is not None:
        share, changed = head.decided_directly(concepts, direct)
        run.log_metrics({
            f"{split}/direct_share": float(share.mean()), f"{split}/direct_changes": float(changed.float().mean())
        })  # fmt: skip
        log.info(
            "the direct path decides %.1f %% of an answer over the next one on %s, the attributes the rest; without it "
            "%.1f %% of the answers are others", 100 * share.mean(), split, 100 * changed.float().mean(),
        )  # fmt: skip


@torch.inference_mode()
def given_to_head(
    config: schema.Train, prepared: Prepared, split: str, *, training: bool = False, most: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the head is given (n, f) of a split's pictures, or of about `most` of them, their labels and rows (n,)."""
    network, fabric, trainer = prepared.network, prepared.fabric, config.trainer
    _, batches = learning(config, prepared, stages(config)[-1].phase)
    fabric.to_device(network).eval()
    limits = [trainer.limit_batches, most and -(-most // trainer.batch_size)]
    some = islice(batches(split, training=training), min((one for one in limits if one), default=None))
    found, layout = [], layout_of(network)
    for batch in watch(some, f"attributes of {split}"):
        with fabric.autocast():
            given = network.joined(batch.inputs.to(fabric.device, layout))
        found.append((given.float().cpu(), batch.labels, batch.rows))
    given, labels, rows = (torch.cat(some) for some in zip(*found, strict=True))
    return given, labels, rows


def tell_how_well_read(
    head: Concepts, scores: np.ndarray, shares: np.ndarray, labels: np.ndarray, run: TrackedRun, split: str
) -> None:
    """The area under the ROC curve of each attribute, as a table, and their mean; `shares` are of classes by `labels`,
    or of pictures by their places.
    """
    write_csv(attribute_table(list(head.attributes), scores, shares, labels), run.folder / "attribute_auc.csv")
    figure = mean_auc(scores, shares, labels)
    if not figure:
        log.info("attributes cannot be judged: %s has no pictures both with one and without it", split)
        return
    run.log_metrics({
        f"{split}/attribute_auc": figure.value, f"{split}/attribute_auc_low": figure.low,
        f"{split}/attribute_auc_high": figure.high,
    })  # fmt: skip
    log.info("attributes are told apart on %s with a mean AUC of %s; which, says attribute_auc.csv", split, figure)


def tell_agreement(
    head: Concepts, concepts: torch.Tensor, answered: torch.Tensor, classes: list[str], run: TrackedRun, split: str
) -> None:
    """How far reasons agree with what is known: on average, and as a table of the classes."""
    added, _ = head.contributions(concepts, answered)
    found = Agreement.of(added.numpy(), concepts.numpy(), head.knowledge[answered].numpy())
    write_csv(found.table(answered.numpy(), classes), run.folder / "agreement.csv")
    share, distance = (mean_by_class(one, answered.numpy()) for one in (found.share, found.edits))
    run.log_metrics({
        f"{split}/agreement": share[0], f"{split}/agreement_low": share[1], f"{split}/agreement_high": share[2],
        f"{split}/edit_distance": distance[0],
    })  # fmt: skip
    log.info(
        "reasons agree with what is known of the class to %.1f %% [%.1f, %.1f] on %s; of which class least, says "
        "agreement.csv", *(100 * one for one in share), split,
    )  # fmt: skip


def tell_overruled(
    head: Concepts, concepts: torch.Tensor, direct: torch.Tensor, labels: torch.Tensor, run: TrackedRun, split: str
) -> None:
    """How many answers follow from a rule, and whether that did them good."""
    assert head.rules is not None
    before, after = (head.species.logits(concepts) + direct).argmax(1), head.of_concepts(concepts, direct).argmax(1)
    run.log_metrics({f"{split}/overruled": float((before != after).float().mean())})
    log.info(
        "head.rules: %d rules overruled %d of %d answers on %s: %d of them were right before, %d are now",
        len(head.rules), (before != after).sum(), len(labels), split,
        ((before != after) & (before == labels)).sum(), ((before != after) & (after == labels)).sum(),
    )  # fmt: skip
