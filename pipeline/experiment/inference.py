"""Asking networks about pictures: a training run's about a split, a finished model's about rows of any table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from pipeline.common.errors import BadInput
from pipeline.common.progress import watch
from pipeline.config import schema
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.tta import Views, canvas, shown
from pipeline.data.table import PictureTable
from pipeline.ensembles.rules import combine
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import learning, stages
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions
from pipeline.serving.bundle import Bundle
from pipeline.training.hardware import make_fabric
from pipeline.training.loop import predict, to_device


def split_answers(config: schema.Train, prepared: Prepared, split: str) -> Predictions:
    """What a run's network says of a split's pictures, or their features, as its last stage sees them."""
    learner, batches = learning(config, prepared, stages(config)[-1].phase)
    module = prepared.fabric.setup_module(learner)
    paths = prepared.table.rows["path"].to_numpy()
    builder = PredictionsBuilder(prepared.table.classes)
    some = watch(islice(batches(split), config.trainer.limit_batches), f"score {split}")
    for rows, labels, logits in predict(module, some, fabric=prepared.fabric):
        builder.add(paths[rows.numpy()], labels.cpu().numpy(), logits.cpu().numpy())
    return builder.finish()


def matched(table: PictureTable, classes: Sequence[str]) -> PictureTable:
    """The pictures with labels in the network's order. BadInput, naming them, for classes it does not know."""
    unknown = [name for name in table.classes if name not in set(classes)]
    if unknown:
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        raise BadInput(
            f"{table.name} has classes that the network does not know: {', '.join(unknown[:3])}{more}; "
            f"of its {len(classes):,} ({', '.join(list(classes)[:3])}, ...) choose with data.classes=[...]"
        )
    return replace(table, taxonomy=None).with_classes(list(classes))


def answers(
    bundle: Bundle,
    table: PictureTable,
    rows: np.ndarray,
    views: Views,
    trainer: schema.Runner,
    on_unreadable: Any,
) -> Predictions:
    """What a model says of the pictures `rows`; several views are averaged as probabilities."""
    fabric = make_fabric(trainer.accelerator, trainer.precision)
    builders = [PredictionsBuilder(bundle.classes) for _ in bundle.members]
    alike: dict[Any, list[int]] = defaultdict(list)  # members that see the same picture share its decoding
    for number, member in enumerate(bundle.members):
        alike[member.spec.preprocessing].append(number)
    with build.memory_in_one_line(trainer.batch_size):
        for how, numbers in alike.items():
            networks = {number: fabric.setup_module(bundle.members[number]).eval() for number in numbers}
            _ask(networks, builders, table, rows, how, views, trainer, on_unreadable, fabric)
    made = [builder.finish() for builder in builders]
    if bundle.rule is None:
        return made[0]
    return combine({str(number): one for number, one in enumerate(made)}, bundle.rule)


def _ask(
    networks: dict[int, Any], builders: Sequence[Any], table: PictureTable, rows: np.ndarray, how: Any, views: Views,
    trainer: schema.Runner, on_unreadable: Any, fabric: Any,
) -> None:  # fmt: skip
    paths = table.rows["path"].to_numpy()
    batches = PictureBatches(
        table, rows, how.resized_to(canvas(views, how.image_size)), batch_size=trainer.batch_size,
        num_workers=build.workers(trainer.num_workers, in_memory=table.pixels is not None),
        on_unreadable=on_unreadable,
    )  # fmt: skip
    with torch.inference_mode():
        for batch in watch(batches, "score"):
            pictures, labels = to_device(batch, fabric.device)
            seen = shown(views, pictures, how.image_size)
            for number, network in networks.items():
                logits = [network(view).float() for view in seen]
                ids, truth = paths[batch.rows.numpy()], labels.cpu().numpy()
                if len(logits) == 1:
                    builders[number].add(ids, truth, logits[0].cpu())
                else:
                    mean = torch.stack([one.softmax(1) for one in logits]).mean(0)
                    builders[number].add_probabilities(ids, truth, mean.cpu().numpy())
