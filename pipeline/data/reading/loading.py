"""Batches of pictures for a network: in an order and with a chance that depend on seed, epoch and picture."""

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache as once
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline.common.atomic import OWN_FOLDERS, held_folder
from pipeline.common.errors import BadInput
from pipeline.common.interruption import leave_to_parent
from pipeline.data.batch import NOTHING, Batch, Inputs
from pipeline.data.boxes.crop import Boxed, Plain, unboxed
from pipeline.data.contents import mixed
from pipeline.data.reading.augmentation import Augmentation
from pipeline.data.reading.cache import PictureCache
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.data.reading.preprocessing import Joined, Preprocessing, Reading, Source
from pipeline.data.reading.unreadable import remember, remembered
from pipeline.data.table import PictureTable

_LONGEST_TMPDIR = 67  # bytes: the names of sockets below it have 40 more, and the system takes 107

log = logging.getLogger(__name__)


@once
def _passing_folder() -> tempfile.TemporaryDirectory[str]:
    """Where processes pass pictures through; what a killed one left of it is deleted by the next command."""
    made = held_folder(OWN_FOLDERS)
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # no public way to say where
    config["tempdir"] = made.name  # also in the processes that this one starts
    return made


class PictureBatches:
    """The pictures of `rows` in batches, read by `num_workers` processes (none: by this one).

    `shuffle` marks training: a new order each epoch, and no batch of a single picture, on which batch-norm fails (it
    joins the batch before). A picture that cannot be read raises `BadInput`, or with
    `on_unreadable="skip"` is left out and noted in `skipped`, here and in the table. Either way it is remembered:
    the next run stops at once, or does not open it again and in all else goes as this one did. `cache`
    keeps pictures as they are read, of the size that `canvas` gives. Chance in augmentation follows a picture's place
    in the table, or `identities` (n,) uint64 of the `rows`: then it is the same in whatever table it stands, and where
    there are so many `views` of a picture, each epoch shows the next one.
    `beside`: what is known of all of the table's pictures beside their pixels. A `reader` of another kind makes batches
    of what is kept of them.
    Of several processes with a `share` of each batch, the how-manieth of how many, this one reads its own: batches may
    then be empty, and are as many for all.
    """

    def __init__(
        self,
        table: PictureTable,
        rows: np.ndarray,
        preprocessing: Reading,
        *,
        batch_size: int,
        augmentation: Augmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        on_unreadable: Literal["raise", "skip"] = "raise",
        cache: PictureCache | None = None,
        identities: np.ndarray | None = None,
        views: int = 0,
        beside: Inputs = NOTHING,
        reader: Dataset["Answer"] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.n_pictures = len(rows)
        self.skipped: dict[str, str] = {}
        self._left_out, self._root = table.skipped, os.path.join(os.fspath(table.root or ""), "")  # noqa: PTH118
        self._known = {self._root + path: reason for path, reason in remembered(table).items()}
        if on_unreadable == "raise":
            for path, reason in self._known.items():
                raise _told(UnreadablePicture(path, reason))
        self._on_unreadable = on_unreadable
        self._shared = share[1] > 1
        self._joins_single = shuffle and batch_size > 1 and len(rows) > 1 and not self._shared
        self._told_of_single = False
        self._requests = Requests(
            table, rows, batch_size=batch_size, shuffle=shuffle, seed=seed, identities=identities, views=views,
            share=share,
        )  # fmt: skip
        self._cache, self._beside = cache, beside
        if num_workers:
            if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_TMPDIR:  # they would hang without a word
                raise BadInput(
                    f"TMPDIR={tempfile.gettempdir()} is too long a path for processes to pass pictures through: set it "
                    "to a shorter one, such as TMPDIR=/tmp, or read without helpers, trainer.num_workers=0"
                )
            _passing_folder()
        self._loader: DataLoader[Answer] = DataLoader(
            reader or Reader(preprocessing, augmentation, self._known, cache),
            sampler=self._requests,
            batch_size=None,  # a request is a whole batch
            collate_fn=_as_it_is,
            num_workers=num_workers,
            # The system's own way to start them, by name: in a process of joblib's the default is joblib's, and fails.
            multiprocessing_context=multiprocessing.get_all_start_methods()[0] if num_workers else None,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=leave_to_parent,
            generator=torch.Generator(),  # its own, so that reading leaves the global one as it was
        )

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._requests)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the order and the chance of the next pass, and the request that it starts at."""
        self._requests.epoch, self._requests.start = epoch, start

    def __iter__(self) -> Iterator[Batch]:
        if not self._joins_single:
            yield from self._readable()
            return
        held: Batch | None = None
        for batch in self._readable():
            if held is None:
                held = batch
            elif min(len(held.labels), len(batch.labels)) > 1:
                yield held
                held = batch
            else:
                held = held.joined(batch)
                self._tell_of_single()
        if held is not None and len(held.labels) > 1:
            yield held

    def _readable(self) -> Iterator[Batch]:
        start = self._requests.start
        for end, (batch, unreadable, cache_full) in enumerate(self._loader, start=start + 1):
            self._note(unreadable)
            if self._cache:
                self._cache.tell_full(cache_full)
            if len(batch.labels) or self._shared:
                yield batch._replace(inputs=batch.inputs.also(self._beside.take(batch.rows)), end=end)

    def _tell_of_single(self) -> None:
        if not self._told_of_single:
            self._told_of_single = True
            log.info("of a training batch one picture alone could be read: it joins the batch beside it")

    def _note(self, unreadable: list[UnreadablePicture]) -> None:
        for picture in unreadable:
            if picture.path not in self.skipped and picture.path not in self._known:
                remember(picture)
            if self._on_unreadable == "raise":
                raise _told(picture) from picture
            self.skipped[picture.path] = picture.reason
            self._left_out[picture.path.removeprefix(self._root)] = picture.reason


class Request(NamedTuple):
    """What a reader needs to make a batch, so that no worker holds the table; `sources`: paths or pixels, and boxes."""

    sources: Sequence[Plain | Boxed] | np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    seeds: np.ndarray
    epoch: int


class Answer(NamedTuple):
    """What a reader makes of a request; `cache_full`: why no more pictures are kept, "" where they are."""

    batch: Batch
    unreadable: list[UnreadablePicture]
    cache_full: str


class Requests(Sampler[Request]):
    """The requests of an epoch, in order."""

    def __init__(
        self,
        table: PictureTable,
        rows: np.ndarray,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        identities: np.ndarray | None = None,
        views: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.epoch = self.start = 0
        self._share = share
        self._identities, self._views = identities, views
        self._table = table
        self._labels = table.labels
        self._rows = np.asarray(rows, dtype=np.int64)
        self._shuffle = shuffle
        self._seed = seed
        # Where batches begin; a single picture left over joins the batch before it.
        starts = np.arange(0, len(rows), batch_size)
        single = shuffle and batch_size > 1 and len(rows) > 1 and len(rows) % batch_size == 1
        self._starts = starts[1:-1] if single else starts[1:]

    def __len__(self) -> int:
        return len(self._starts) + 1 if len(self._rows) else 0

    def __iter__(self) -> Iterator[Request]:
        if not len(self._rows):
            return
        order, chance = (np.random.default_rng([self._seed, self.epoch, use]) for use in range(2))
        rows = order.permutation(self._rows) if self._shuffle else self._rows
        # Drawn for every row up to the last, so that a picture's seed does not depend on the others.
        seeds = chance.integers(2**63, size=self._rows.max() + 1)
        if self._identities is not None:
            view = (self.epoch - 1) % self._views if self._views else self.epoch
            asked = np.broadcast_to(np.array([self._seed % 2**64, view], np.uint64), (len(self._rows), 2))
            seeds[self._rows] = mixed(np.column_stack([self._identities, asked])) >> np.uint64(1)
        own, of = self._share
        for whole in np.split(rows, self._starts)[self.start :]:
            some = np.array_split(whole, of)[own]
            yield Request(self._table.shown(some), self._labels[some], some, seeds[some], self.epoch)


@dataclass(frozen=True)
class Reader(Dataset[Answer]):
    """Makes batches of requests, in this process or a worker's."""

    preprocessing: Reading
    augmentation: Augmentation | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)  # known from earlier runs: path, and why
    cache: PictureCache | None = None

    def __getitem__(self, request: Request) -> Answer:
        """The pictures that could be read, and the others."""
        pictures = torch.empty((len(request.rows), *self.preprocessing.shape), dtype=torch.uint8)
        kept: list[int] = []
        unreadable: list[UnreadablePicture] = []
        with torch.random.fork_rng(devices=[]):
            items = zip(request.sources, request.rows.tolist(), request.seeds.tolist(), strict=True)
            for place, (source, row, seed) in enumerate(items):
                try:
                    pictures[len(kept)] = self._picture(source, row, seed)
                    kept.append(place)
                except UnreadablePicture as error:
                    unreadable.append(error)
        labels, rows = (torch.from_numpy(column[kept]) for column in (request.labels, request.rows))
        batch = Batch(Inputs(pictures[: len(kept)]), labels, rows)
        return Answer(batch, unreadable, self.cache.full if self.cache else "")

    def _picture(self, source: Source, row: int, seed: int) -> torch.Tensor:
        picture = self.cache.get(row) if self.cache else None
        if picture is None:
            picture = self._read(source)
            if self.cache:
                self.cache.put(row, picture)
        if self.augmentation is None:
            return picture
        torch.default_generator.manual_seed(seed)
        return self.augmentation.transform(picture)

    def _read(self, source: Source) -> torch.Tensor:
        file, _ = unboxed(source)
        if isinstance(file, str) and file in self.unreadable:
            raise UnreadablePicture(file, self.unreadable[file])
        how = self.preprocessing
        return (how if isinstance(how, Joined) else canvas(how, self.augmentation)).read(source)


def canvas(how: Preprocessing, augmentation: Augmentation | None) -> Preprocessing:
    """How pictures are read before they are augmented: larger, where the augmentation cuts from them."""
    if augmentation is None or augmentation.canvas <= 1:
        return how
    return how.resized_to(round(how.image_size * augmentation.canvas))


def _told(picture: UnreadablePicture) -> BadInput:
    return BadInput(f"{picture}; put it right or away, or set data.on_unreadable=skip")


def _as_it_is(item: Any) -> Any:
    return item
