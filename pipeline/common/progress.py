"""What long work shows: a progress bar with pictures a second and time left; nothing where no terminal watches."""

import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track

Item = TypeVar("Item")


def watch(batches: Iterable[Any], what: str, times: int = 1) -> Iterable[Any]:
    """The same batches, with a bar that goes away when they are through; `times` as many pictures are under way."""
    return _bar(batches, what, times) if sys.stdout.isatty() else batches


def each(items: Sequence[Item], what: str) -> Iterable[Item]:
    """The same items, with a bar that goes away when they are through."""
    return track(items, what, transient=True) if sys.stdout.isatty() else items


def _bar(batches: Iterable[Any], what: str, times: int) -> Iterator[Any]:
    total = len(batches) if isinstance(batches, Sized) else None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]} pictures/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")
        pictures = 0
        for batch in batches:
            yield batch
            pictures += times * len(batch.labels)
            elapsed = progress.tasks[0].elapsed or 1e-9
            progress.update(task, advance=1, rate=f"{pictures / elapsed:,.0f}")
