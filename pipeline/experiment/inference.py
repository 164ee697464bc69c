"""Asking networks about pictures of a table: a training run's about a split, a finished model's about any rows."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric

from pipeline.common.errors import BadInput
from pipeline.common.progress import watch
from pipeline.common.wording import first_few
from pipeline.config import schema
from pipeline.config.schema import Engine
from pipeline.data.batch import NOTHING, Inputs
from pipeline.data.beside.exif import with_exif
from pipeline.data.beside.registry import columns_of
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Joined, Reading
from pipeline.data.reading.tta import Views, canvas
from pipeline.data.table import PictureTable
from pipeline.ensembles.rules import Rule
from pipeline.ensembles.scoring import Said, said_of
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.shared_work import gather_skipped
from pipeline.experiment.stages import learning, stages
from pipeline.models.classifier import Classifier, Wants
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions
from pipeline.training.engine import Instead, asked_through, check_engine, stand_ins
from pipeline.training.hardware import make_fabric
from pipeline.training.loop import Batches, layout_of
from pipeline.training.tally import or_stand_in

log = logging.getLogger(__name__)


Note = Callable[[Said], object]  # whoever is told what is said of each batch


def split_answers(config: schema.Train, prepared: Prepared, split: str, note: Note = lambda _: None) -> Predictions:
    """What a run's network says of a split's pictures, or their features, as its last stage sees them."""
    network, table = prepared.network, prepared.table
    _, batches = learning(config, prepared, stages(config)[-1].phase)
    asked = Asked(
        {network.spec.preprocessing: batches(split)}, {network.spec.wants: NOTHING}, config.trainer.limit_batches
    )
    return _predictions([network], None, table, asked, prepared.fabric, what=f"score {split}", note=note)


def shared_answers(config: schema.Train, prepared: Prepared, split: str, note: Note = lambda _: None) -> Predictions:
    """The same, of which each of several processes has a share of every batch; a head on features asks one alone."""
    if not prepared.ranks or stages(config)[-1].phase.trains == "head":
        return split_answers(config, prepared, split, note)
    weights = {name: value.cpu() for name, value in prepared.network.state_dict().items()}
    prepared.ranks.tell((_answer_beside, (split, weights)))
    paths, builder = prepared.table.rows["path"].to_numpy(), PredictionsBuilder(prepared.table.classes)
    for parts in _in_shares(config, prepared, split):
        rows, labels, scores, features = zip(*parts, strict=True)
        said = Said(torch.cat(scores), None if features[0] is None else torch.cat(features))
        builder.add(paths[torch.cat(rows).numpy()], torch.cat(labels), said.scores)
        note(said)
    return builder.finish()


def _answer_beside(config: schema.Train, prepared: Prepared, split: str, weights: dict[str, torch.Tensor]) -> None:
    """In each process but the first."""
    prepared.network.load_state_dict(weights)
    for _ in _in_shares(config, prepared, split):
        pass


def _in_shares(config: schema.Train, prepared: Prepared, split: str) -> Iterator[list[tuple[torch.Tensor | None, ...]]]:
    """For the first process what each has of a batch: rows, labels, scores and, where they are at hand, features."""
    assert prepared.ranks
    network, ranks = prepared.network, prepared.ranks
    _, batches = learning(config, prepared, stages(config)[-1].phase)
    asked = Asked(
        {network.spec.preprocessing: batches(split, share=ranks.share)}, {network.spec.wants: NOTHING},
        config.trainer.limit_batches,
    )  # fmt: skip
    for some, found in scored([network], None, asked, prepared.fabric, what=f"score {split}"):
        own = slice(len(some.rows))  # else a stand-in's
        features = None if found.features is None else found.features[own].float().cpu()
        yield ranks.gathered((some.rows, some.labels, found.scores[own].cpu(), features))
    gather_skipped(prepared)


def matched(table: PictureTable, classes: Sequence[str]) -> PictureTable:
    """The pictures with labels in the network's order. BadInput, naming them, for classes it does not know."""
    unknown = [name for name in table.classes if name not in set(classes)]
    if unknown:
        raise BadInput(
            f"{table.name} has classes that the network does not know: {first_few(unknown, 3)}; "
            f"of its {len(classes):,} ({', '.join(list(classes)[:3])}, ...) choose with data.classes=[...], or ask how "
            "many of the others it calls unknown with evaluation.unknown_classes=ask"
        )
    return replace(table, taxonomy=None).with_classes(list(classes))


def answers(
    members: Sequence[Classifier], rule: Rule | None, table: PictureTable, rows: np.ndarray, trainer: schema.Runner,
    *, views: Views = "none", on_unreadable: Literal["raise", "skip"] = "raise", note: Note = lambda _: None,
) -> Predictions:  # fmt: skip
    """What networks say, by their rule, of the pictures `rows` of a table whose classes are theirs."""
    check_engine(trainer.engine)
    with build.memory_in_one_line(trainer.batch_size):
        asked = pictures(members, table, rows, trainer, views=views, on_unreadable=on_unreadable)
        fabric = make_fabric(trainer.accelerator, trainer.precision)
        return _predictions(members, rule, table, asked, fabric, views, note=note, engine=trainer.engine)


class Shown(NamedTuple):
    """The same pictures as networks want them, with their `labels` and `rows`."""

    inputs: Mapping[Wants, Inputs]
    labels: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True)
class Asked:
    """Batches of the same pictures for each way of reading them, in step; the first `limit`.

    `wants`: what networks are to be given, and what all of the table's pictures know of that beside their pixels.
    """

    ways: Mapping[Reading, Batches | PictureBatches]
    wants: Mapping[Wants, Inputs]
    limit: int | None = None

    @property
    def n_pictures(self) -> int:
        """Of the ways that pictures are read in, which are as many."""
        return next(iter(self.ways.values())).n_pictures

    def __len__(self) -> int:
        whole = len(next(iter(self.ways.values())))
        return min(whole, self.limit or whole)

    def __iter__(self) -> Iterator[Shown]:
        for batches in islice(zip(*self.ways.values(), strict=True), self.limit):
            first = batches[0]
            if any(not torch.equal(batch.rows, first.rows) for batch in batches):
                raise BadInput("a picture could be read for one network and not for another: put it right or away")
            read = dict(zip(self.ways, batches, strict=True))
            inputs = {
                want: read[want.reading].inputs.also(beside.take(first.rows)) for want, beside in self.wants.items()
            }
            yield Shown(inputs, first.labels, first.rows)


def pictures(
    members: Sequence[Classifier], table: PictureTable, rows: np.ndarray, trainer: schema.Runner,
    *, views: Views = "none", on_unreadable: Literal["raise", "skip"] = "raise",
) -> Asked:  # fmt: skip
    """The pictures `rows` as the members see them, read by several processes."""

    def shown(how: Reading) -> Reading:
        if views == "none":
            return how
        if isinstance(how, Joined):
            raise BadInput(
                f"evaluation.tta={views}: networks that are joined see a picture once: use evaluation.tta=none"
            )
        return how.resized_to(canvas(views, how.image_size))

    workers = build.workers(trainer.num_workers, in_memory=table.in_memory)
    wants = dict.fromkeys(member.spec.wants for member in members)
    columns = columns_of(want.beside for want in wants)
    facts = with_exif(table.rows, columns, lambda: table.sources(np.arange(len(table.rows))))
    unknown = [column for column in columns if column not in facts]
    if unknown:
        log.warning(
            "warning: nothing is known of %s in %s: pictures are asked about without", " and ".join(unknown), table.name
        )
    return Asked(
        {
            how: PictureBatches(
                table, rows, shown(how), batch_size=trainer.batch_size,
                num_workers=workers, on_unreadable=on_unreadable,
            )
            for how in dict.fromkeys(want.reading for want in wants)
        },
        {want: want.known(facts) for want in wants},
    )  # fmt: skip


def on_device(members: Sequence[Classifier], asked: Asked, fabric: Fabric, what: str) -> Iterator[Shown]:
    """Each batch on the device of `fabric`, where the members, in evaluation mode, are too."""
    for member in members:
        fabric.to_device(member).eval()
    layout = layout_of(members[0])
    for some in watch(asked, what):
        yield some._replace(
            inputs={want: or_stand_in(inputs).to(fabric.device, layout) for want, inputs in some.inputs.items()}
        )  # fmt: skip


def scored(
    members: Sequence[Classifier], rule: Rule | None, asked: Asked, fabric: Fabric, views: Views = "none",
    what: str = "score", engine: Engine = "torch",
) -> Iterator[tuple[Shown, Said]]:  # fmt: skip
    """Each batch with what is said of it, on the device and in the precision of `fabric`, through that `engine`."""
    instead: Instead | None = None
    for some in on_device(members, asked, fabric, what):
        if instead is None:
            sights = [sight for member in members for sight in member.sights]
            instead = stand_ins(engine, sights, asked.n_pictures, len(some.rows), fabric)
        with fabric.autocast(), asked_through(instead):
            found = said_of(members, rule, some.inputs, views)
        yield some, found


def _predictions(
    members: Sequence[Classifier], rule: Rule | None, table: PictureTable, asked: Asked, fabric: Fabric,
    views: Views = "none", what: str = "score", note: Note = lambda _: None, engine: Engine = "torch",
) -> Predictions:  # fmt: skip
    paths = table.rows["path"].to_numpy()
    builder = PredictionsBuilder(table.classes)
    for some, found in scored(members, rule, asked, fabric, views, what, engine):
        builder.add(paths[some.rows.numpy()], some.labels, found.scores)
        note(found)
    return builder.finish()
