"""A head that is fitted once to kept features, told of as the one epoch of a run."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from time import perf_counter

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.functional import cross_entropy

from pipeline.common.progress import watch
from pipeline.data.batch import Batch, Inputs
from pipeline.models.classifier import Classifier
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.join import SCALES, USUAL_SCALE
from pipeline.training.loop import Batches, Epoch, NothingRead, Progress, measure

log = logging.getLogger("pipeline.train")


@dataclass(frozen=True)
class Fitting:
    """A network whose head is fitted to the features of all of `train`, of each of its augmented `views`.

    A picture counts as the class weights of `loss` say, if it has any. All features are held in memory at once.
    `identities` (rows of the table,) int64 says which rows are of one picture: drawn twice, say.
    `limit`: only so many batches of each split, for a smoke test. `tries_scales`: val says how large what is joined to
    the features is to be.
    """

    fabric: Fabric
    network: Classifier
    loss: nn.Module
    train: Batches
    val: Batches
    identities: torch.Tensor
    views: int = 1
    limit: int | None = None
    tries_scales: bool = False

    def once(self, progress: Progress) -> Epoch:
        """Fit the head to train, let val say how sure it may be, and measure it."""
        began = perf_counter()
        train, val = _all_of(self._of_train()), _all_of(self._of_val())
        self._fit_as_heard(train, val)
        rate = len(train.labels) / (perf_counter() - began)
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
        some = _all_of(chain(self._of_train(), self._of_val()))
        self._fit(some)
        log.info(
            "fitted once more, on all %d features of train and val: test is asked of that, and so is who is served; "
            "val's figures stay those from before", len(some.labels),
        )  # fmt: skip

    @property
    def _head(self) -> FittedHead:
        head = self.network.head
        assert isinstance(head, FittedHead)
        return head

    def _fit_as_heard(self, train: Batch, val: Batch) -> None:
        """Fit to train, and let val say how sure the head may be.

        Where something is joined to the features, val says how large too: more or less than usual while its loss falls.
        """
        join, losses = self.network.join, dict[float, float]()

        def loss(place: int) -> float:
            scale = SCALES[place]
            if scale not in losses and join:
                join.scale.fill_(scale)
                losses[scale] = self._fitted(train, val)
            return losses[scale]

        if join:
            join.cpu().measure(self.network.features(train.inputs))
            shown, without = self._both_ways(train)
            # As many without as they will count: each picture both ways would choose the same in twice the time.
            hidden = torch.rand(len(shown), 1, generator=torch.Generator().manual_seed(0)) < join.dropout
            given, pictures = shown.where(~hidden, without), self.identities[train.rows]
            self._head.cpu().settle(given, train.labels, weights=self._weights(train), pictures=pictures)
        if join and self.tries_scales:
            self._head.tried, place = True, SCALES.index(USUAL_SCALE)
            for step in (1, -1):
                while 0 <= place + step < len(SCALES) and loss(place + step) < loss(place):
                    place += step
            self._head.tried = False
            join.scale.fill_(SCALES[place])
            said = ", ".join(f"{scale:g}: {losses[scale]:.3f}" for scale in sorted(losses))
            log.info("metadata.scale=%g was chosen by the log loss of val (%s)", SCALES[place], said)
        self._fitted(train, val)

    def _fitted(self, train: Batch, val: Batch) -> float:
        """Fit to train; gives the log loss of val, by which its probabilities are made sharper or softer first."""
        self._fit(train)
        with torch.no_grad():
            given = self.network.eval().joined(val.inputs)
            self._head.calibrate(given, val.labels)
            return float(cross_entropy(self._head(given), val.labels))

    def _fit(self, some: Batch) -> None:
        weights = self._weights(some)
        labels, pictures = some.labels, self.identities[some.rows]
        given, without = self._both_ways(some)
        if self.network.join and (hidden := self.network.join.dropout):
            counts = torch.ones(len(labels)) if weights is None else weights
            given, labels, pictures = torch.cat([given, without]), labels.repeat(2), pictures.repeat(2)
            weights = torch.cat([(1 - hidden) * counts, hidden * counts])
        self._head.cpu().fit(given, labels, weights=weights if self._head.weighs else None, pictures=pictures)

    @torch.no_grad()
    def _both_ways(self, some: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head is given of pictures (n, f) with what is known beside them, and as if nothing were."""
        network = self.network.eval()
        return network.joined(some.inputs), network.joined(Inputs(features=some.inputs.features))

    def _weights(self, some: Batch) -> torch.Tensor | None:
        """(n,) how much each picture counts, where that differs."""
        weight = getattr(self.loss, "weight", None)
        return None if weight is None else weight.cpu()[some.labels]

    def _of_train(self) -> Iterator[Batch]:
        for view in range(1, self.views + 1):
            self.train.set_epoch(view)
            yield from watch(islice(self.train, self.limit), "features to fit")

    def _of_val(self) -> Iterator[Batch]:
        yield from watch(islice(self.val, self.limit), "val")


def _all_of(batches: Iterable[Batch]) -> Batch:
    if not (some := list(batches)):
        raise NothingRead
    inputs, labels, rows, _ = zip(*some, strict=True)
    return Batch(Inputs.together(list(inputs)), torch.cat(labels), torch.cat(rows))
