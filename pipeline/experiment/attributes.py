"""How well a run's network reads attributes, where its classes follow from them: figures, and a table."""

from __future__ import annotations

import logging

import torch

from pipeline.config import schema
from pipeline.data.files import write_csv
from pipeline.evaluation.attributes import attribute_table, mean_auc
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import feature_batches
from pipeline.models.heads.concepts import Concepts
from pipeline.tracking.runs import TrackedRun

log = logging.getLogger("pipeline.train")


@torch.inference_mode()
def tell_attributes(config: schema.Train, prepared: Prepared, run: TrackedRun, split: str) -> None:
    """Measure what the network reads of the attributes of a split's pictures, against what their classes have."""
    network = prepared.network.cpu().eval()
    head = network.head
    if not isinstance(head, Concepts):
        return
    found = [
        (head.concepts(network.joined(batch.inputs).float()), batch.labels)
        for batch in feature_batches(config, prepared, split)
    ]
    scores, labels = (torch.cat(some).numpy() for some in zip(*found, strict=True))
    shares = head.signatures.numpy()
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
