"""A head that is fitted once to kept features, told of as the one epoch of a run."""

from collections.abc import Iterator
from itertools import islice
from time import perf_counter

import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.common.progress import watch
from pipeline.data.batch import Batch
from pipeline.models.classifier import Classifier
from pipeline.models.head import FittedHead
from pipeline.training.loop import Batches, Epoch, Progress, measure


def fit_once(
    fabric: Fabric,
    network: Classifier,
    loss: nn.Module,
    train: Batches,
    val: Batches,
    progress: Progress,
    *,
    views: int = 1,
    limit: int | None = None,
) -> Epoch:
    """Fit the network's head to the features of all of `train`, of each of its augmented `views`, and measure it.

    A picture counts as the class weights of `loss` say, if it has any. All features are held in memory at once.
    `limit`: only so many batches of each split, for a smoke test.
    """
    began, head = perf_counter(), network.head
    assert isinstance(head, FittedHead)

    def seen() -> Iterator[Batch]:
        for view in range(1, views + 1):
            train.set_epoch(view)
            yield from watch(islice(train, limit), "features to fit")

    values, codes = zip(*((batch.inputs.features, batch.labels) for batch in seen()), strict=True)
    features, labels = torch.cat(values), torch.cat(codes)
    weight = getattr(loss, "weight", None)
    head.fit(features, labels, None if weight is None else weight.cpu()[labels])
    rate = len(labels) / (perf_counter() - began)
    module = fabric.setup_module(network)
    train_loss, train_accuracy, _ = measure(module, seen(), fabric=fabric, loss=loss)
    val_loss, val_accuracy, val_top5 = measure(module, watch(islice(val, limit), "val"), fabric=fabric, loss=loss)
    improved = progress.note(1, val_accuracy, val_loss)
    record = Epoch(
        1, train_loss, train_accuracy, val_loss, val_accuracy, val_top5, None, rate, perf_counter() - began, improved
    )
    progress.history.append({"epoch": 1, **record.metrics()})
    return record
