"""Predictions as they come from a network, batch by batch, reduced at once where classes are many."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from pipeline.predictions.predictions import DENSE_CLASSES, LARGEST, TINY, Predictions, Rest


class PredictionsBuilder:
    """Collects a network's answers batch by batch, in little memory: a large batch is reduced as it comes."""

    def __init__(self, classes: Sequence[str], *, dense_classes: int = DENSE_CLASSES, largest: int = LARGEST) -> None:
        self.classes = list(classes)
        self.kept = None if len(self.classes) <= dense_classes else min(largest + 1, len(self.classes) - 1)
        self._ids: list[np.ndarray] = []
        self._parts: list[_Rows] = []

    @classmethod
    def like(cls, predictions: Predictions) -> "PredictionsBuilder":
        """A builder that keeps as much a picture as these predictions do."""
        if not predictions.is_sparse:
            return cls(predictions.classes, dense_classes=len(predictions.classes))
        return cls(predictions.classes, dense_classes=0, largest=predictions.logits.shape[1] - 1)

    def add(
        self,
        ids: Sequence[str] | np.ndarray,
        labels: np.ndarray | torch.Tensor,
        logits: np.ndarray | torch.Tensor,
    ) -> None:
        """Add a batch: b ids, (b,) class codes, (b, k) logits of any floating type, on any device."""
        self._add(ids, labels, logits, _rest_of_logits)

    def add_probabilities(self, ids: Sequence[str] | np.ndarray, labels: np.ndarray, values: np.ndarray) -> None:
        """Add a batch of (b, k) probabilities; none is taken for less than the least float32.

        Sparse: those that are not kept are taken for equal, which spares their logarithms.
        """
        self._add(ids, labels, values, _rest_of_probabilities)

    def _add(
        self,
        ids: Sequence[str] | np.ndarray,
        labels: np.ndarray | torch.Tensor,
        values: np.ndarray | torch.Tensor,
        reduce: Callable[..., tuple[torch.Tensor, ...]],
    ) -> None:
        scores = torch.as_tensor(values).detach().float()
        codes = torch.as_tensor(labels, device=scores.device).long()
        if scores.shape != (len(ids), len(self.classes)):
            raise ValueError(f"shape {tuple(scores.shape)} for {len(ids)} ids, {len(self.classes)} classes")
        parts = (codes, *reduce(scores, None if self.kept is None else _largest(scores, codes, self.kept)))
        self._parts = self._parts or [_Rows() for _ in parts]
        self._ids.append(np.array(ids, dtype=object))
        for rows, part in zip(self._parts, parts, strict=True):
            rows.append(part.cpu().numpy())

    def finish(self) -> Predictions:
        """All that was added, in the order it was added; empty where nothing was."""
        if not self._ids:
            self.add([], np.empty(0, dtype=np.int64), np.empty((0, len(self.classes)), dtype=np.float32))
        labels, logits, *others = (rows.filled() for rows in self._parts)
        ids = np.concatenate(self._ids)
        if self.kept is None:
            return Predictions(ids, labels, self.classes, logits)
        columns, rest_logsumexp, rest_mean = others
        rest = Rest(len(self.classes) - self.kept, rest_logsumexp, rest_mean)
        return Predictions(ids, labels, self.classes, logits, columns, rest)


class _Rows:
    """An array that grows by doubling: thousands of small ones between large ones would tear memory apart."""

    def __init__(self) -> None:
        self._held: np.ndarray | None = None
        self._count = 0

    def append(self, rows: np.ndarray) -> None:
        count = self._count + len(rows)
        if self._held is None:
            self._held = np.empty_like(rows)
        if count > len(self._held):
            grown = np.empty((max(count, 2 * len(self._held)), *rows.shape[1:]), dtype=rows.dtype)
            grown[: self._count] = self._held[: self._count]
            self._held = grown
        self._held[self._count : count] = rows
        self._count = count

    def filled(self) -> np.ndarray:
        """The rows that were appended, without the room for more."""
        assert self._held is not None
        return self._held[: self._count].copy()


def _largest(scores: torch.Tensor, labels: torch.Tensor, kept: int) -> torch.Tensor:
    """(b, k) -> (b, kept) codes of the largest, in order, the last giving way to an absent true class."""
    columns = scores.topk(kept, dim=1).indices
    absent = ~(columns == labels[:, None]).any(dim=1)
    columns[absent, -1] = labels[absent]
    return columns


def _rest_of_logits(scores: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """The logits to keep and, when sparse, their codes and the others' log-sum-exp and mean."""
    if columns is None:
        return (scores,)
    logits = scores.gather(1, columns)
    others = scores.scatter(1, columns, -float("inf")).logsumexp(dim=1)
    mean = (scores.sum(dim=1) - logits.sum(dim=1)) / (scores.shape[1] - columns.shape[1])
    return logits, columns.int(), others, mean


def _rest_of_probabilities(values: torch.Tensor, columns: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """The same of probabilities, as logarithms."""
    if columns is None:
        return (values.clamp(min=TINY).log(),)
    count = values.shape[1] - columns.shape[1]
    others = values.scatter(1, columns, 0.0).sum(dim=1).clamp(min=TINY * count)
    return (
        values.gather(1, columns).clamp(min=TINY).log(),
        columns.int(),
        others.log(),
        (others / count).log(),
    )
