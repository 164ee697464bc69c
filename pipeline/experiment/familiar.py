"""What a training notes of its known pictures, by which later ones are told for strange: see `evaluation.familiar`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from pipeline.common.progress import watch
from pipeline.config import schema
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.ensembles.scoring import Said
from pipeline.evaluation.familiar import Familiar, Looks, together, write_familiar
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import features, stages, views
from pipeline.serving.known import FILE
from pipeline.training.loop import layout_of

_EACH = 30  # training pictures of a class make its mean
_MOST_VALUES = 50_000_000  # of class means; of larger ones only probabilities tell what is strange


class Noted:
    """What is noted of the pictures of a split, batch after batch; nothing without `familiar`."""

    def __init__(self, familiar: Familiar | None) -> None:
        self._familiar, self._some = familiar, list[Looks]()

    def add(self, said: Said) -> None:
        """What is said of the next pictures."""
        features, scores = said.arrays()
        if self._familiar is not None and features is not None:
            self._some.append(self._familiar.looks(features, scores))

    @property
    def looks(self) -> Looks | None:
        """Of all of them."""
        return together(self._some) if self._some else None


def familiar_of(config: schema.Train, prepared: Prepared) -> Familiar | None:
    """That of the network as it stands; None where class means would take too much room, or nothing can be read."""
    table, network = prepared.table, prepared.network
    if len(table.classes) * network.n_features > _MOST_VALUES:
        return None
    found = _kept(config, prepared) if stages(config)[-1].phase.trains == "head" else _asked(config, prepared)
    if not len(found[1]) or not np.isfinite(found[0]).all():
        return None
    return Familiar.of(*found, len(table.classes))


def keep(folder: Path, familiar: Familiar | None, noted: Mapping[str, Noted]) -> None:
    """Write what was noted of each split among a run's predictions, in the order of these; nothing without it."""
    looks = {split: one.looks for split, one in noted.items()}
    if familiar is not None:
        arrays = {
            f"{split}.{name}": array
            for split, one in looks.items()
            if one is not None
            for name, array in one._asdict().items()
        }
        write_familiar(folder / FILE, familiar, arrays)


def _kept(config: schema.Train, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) and labels (n,) of training pictures, as the head learned from them."""
    made = features(config, prepared, "train", views(config, training=True)[0])
    some = _of_each(made.labels)
    return made.values.choose(some).read(), made.labels[some]


@torch.inference_mode()
def _asked(config: schema.Train, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """The same of a network that trained itself, which is asked of some of them."""
    table, network, fabric = prepared.table, prepared.network, prepared.fabric
    rows = table.where("train")
    rows = rows[_of_each(table.labels[rows])]
    if config.trainer.limit_batches:
        rows = rows[: config.trainer.limit_batches * config.trainer.batch_size]
    how = network.spec.preprocessing
    assert isinstance(how, Preprocessing)  # networks that are joined stay as they are
    fabric.to_device(network).eval()
    values, labels = [np.zeros((0, network.n_features), np.float32)], [np.zeros(0, np.int64)]
    for batch in watch(build.batches(config, table, how, "train", rows=rows), "known"):
        with fabric.autocast():
            seen = network.features(batch.inputs.to(fabric.device, layout_of(network)))
        values.append(seen.float().cpu().numpy())
        labels.append(batch.labels.numpy())
    return np.concatenate(values), np.concatenate(labels)


def _of_each(labels: np.ndarray) -> np.ndarray:
    """Places, ascending, of `_EACH` pictures of each class of labels (n,), drawn by chance that is always the same."""
    order = np.lexsort((np.random.default_rng(0).random(len(labels)), labels))
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    return np.sort(order[rank < _EACH])
