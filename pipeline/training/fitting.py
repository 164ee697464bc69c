"""A head that is fitted once to kept features, told of as the one epoch of a run."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from time import perf_counter

import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.common.progress import watch
from pipeline.data.batch import Batch
from pipeline.models.classifier import Classifier
from pipeline.models.heads.fitted import FittedHead
from pipeline.training.loop import Batches, Epoch, Progress, measure

log = logging.getLogger("pipeline.train")


@dataclass(frozen=True)
class Fitting:
    """A network whose head is fitted to the features of all of `train`, of each of its augmented `views`.

    A picture counts as the class weights of `loss` say, if it has any. All features are held in memory at once.
    `identities` (rows of the table,) int64 says which rows are of one picture: drawn twice, say.
    `limit`: only so many batches of each split, for a smoke test.
    """

    fabric: Fabric
    network: Classifier
    loss: nn.Module
    train: Batches
    val: Batches
    identities: torch.Tensor
    views: int = 1
    limit: int | None = None

    def once(self, progress: Progress) -> Epoch:
        """Fit the head to train, let val say how sure it may be, and measure it."""
        began = perf_counter()
        labels = self._fit(self._of_train())
        val = list(self._of_val())
        self._head.calibrate(torch.cat([_features(batch) for batch in val]), torch.cat([batch.labels for batch in val]))
        rate = len(labels) / (perf_counter() - began)
        module = self.fabric.setup_module(self.network)
        train_loss, train_accuracy, _ = measure(module, self._of_train(), fabric=self.fabric, loss=self.loss)
        val_loss, val_accuracy, val_top5 = measure(module, self._of_val(), fabric=self.fabric, loss=self.loss)
        improved = progress.note(1, val_accuracy, val_loss)
        record = Epoch(
            1, train_loss, train_accuracy, val_loss, val_accuracy, val_top5, None, rate, perf_counter() - began,
            improved,
        )  # fmt: skip
        progress.history.append({"epoch": 1, **record.metrics()})
        return record

    def again(self) -> None:
        """Fit it to train and val together. How sure it may be stays as it is: by now val would flatter it."""
        labels = self._fit(chain(self._of_train(), self._of_val()))
        log.info(
            "fitted once more, on all %d features of train and val: test is asked of that, and so is who is served; "
            "val's figures stay those from before", len(labels),
        )  # fmt: skip

    @property
    def _head(self) -> FittedHead:
        head = self.network.head
        assert isinstance(head, FittedHead)
        return head

    def _fit(self, batches: Iterable[Batch]) -> torch.Tensor:
        """Gives the labels of what it was fitted to."""
        parts = zip(*((_features(batch), batch.labels, batch.rows) for batch in batches), strict=True)
        features, labels, rows = (torch.cat(part) for part in parts)
        weight = getattr(self.loss, "weight", None)
        self._head.cpu().fit(
            features, labels, weights=None if weight is None else weight.cpu()[labels], pictures=self.identities[rows]
        )
        return labels

    def _of_train(self) -> Iterator[Batch]:
        for view in range(1, self.views + 1):
            self.train.set_epoch(view)
            yield from watch(islice(self.train, self.limit), "features to fit")

    def _of_val(self) -> Iterator[Batch]:
        yield from watch(islice(self.val, self.limit), "val")


def _features(batch: Batch) -> torch.Tensor:
    assert batch.inputs.features is not None
    return batch.inputs.features
