"""How far a sweep has come, and how long the rest may last, as its jobs that ended let one expect."""

from __future__ import annotations

import logging
from threading import Event, Thread
from time import monotonic, time

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.common.wording import duration
from pipeline.tracking.finished import minutes
from pipeline.tracking.liveness import RUNNING
from pipeline.tracking.selection import FINISHED, members

EVERY = 20.0  # seconds at least from one telling to the next, as looking at 500 jobs takes a while

log = logging.getLogger("pipeline.train")


class SweepProgress:
    """Tells of a sweep each time that more of its jobs have ended, but not more often than `EVERY` so many seconds."""

    def __init__(self, parent: str, jobs: int) -> None:
        self._parent, self._jobs = parent, jobs
        self._told_at, self._ended = monotonic(), 0
        self._began = 1000 * time()
        self._over = Event()

    def tell(self) -> None:
        """A line, where there is something new."""
        if not self._jobs or monotonic() - self._told_at < EVERY:
            return
        self._told_at = monotonic()
        try:
            runs = members(MlflowClient(), self._parent)
        except MlflowException:  # the store is away; the jobs see to that
            return
        running = sum(run.info.status == RUNNING for run in runs)
        ended = [run for run in runs if run.info.status == FINISHED or (run.info.end_time or 0) >= self._began]
        finished = [run for run in ended if run.info.status == FINISHED]  # one that failed at once tells no time
        left = self._jobs - len(ended)
        if len(ended) <= self._ended or left <= 0 or not finished:
            return
        self._ended = len(ended)
        rest = left / max(running, 1) * sum(map(minutes, finished)) / len(finished)
        at_once = f", {running} at a time" if running > 1 else ""
        log.info(
            "sweep: %d of %d jobs have ended; the rest: about %s%s", len(ended), self._jobs, duration(rest), at_once
        )

    def watch(self) -> None:
        """Tell by itself from now on, for jobs in other processes, whose own words may go elsewhere."""
        Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self.tell()

    def end(self) -> None:
        """The sweep is over."""
        self._over.set()
