"""The jobs of a folder: asked for, found, stopped. What does them is a process of its own (`process.py`)."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import time

from filelock import FileLock, Timeout

from pipeline.common.errors import BadInput
from pipeline.common.processes import identity
from pipeline.web.jobs.record import Job, Kind, is_id, read, write

# Jobs of a lane are done one after the other. What trains or reads all pictures takes all cores; what does not must not
# wait for hours behind it.
LANES: dict[str, tuple[Kind, ...]] = {
    "long": ("training", "forecast", "exploration"),
    "short": ("promotion", "comparison"),
}
_NOWHERE = subprocess.DEVNULL
_starting = threading.Lock()  # one thread of a page at a time starts runners
_MOST_KEPT = 200  # records of jobs that are over


def jobs_here() -> "Queue":
    """Those of the folder that the program was started in, beside its runs."""
    return Queue(Path.cwd() / "mlruns" / "jobs")


class QueueFull(BadInput):
    """As many jobs wait as may."""


class Queue:
    """The jobs in a folder, of however many pages and runners; `most` may wait at a time."""

    def __init__(self, folder: Path, most: int = 20) -> None:
        self.folder, self._most = folder, most

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While this lasts no other process changes a record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".records.lock"):
            yield

    def jobs(self) -> list[Job]:
        """All, the newest first."""
        found = [job for file in self.folder.glob("*.json") if (job := read(file))]
        return sorted(found, key=lambda job: job.asked_at, reverse=True)

    def job(self, job_id: str) -> Job | None:
        """The job of an id, if there is one."""
        return read(self.folder / f"{job_id}.json") if is_id(job_id) else None

    def log_file(self, job: Job) -> Path:
        """What its process prints."""
        return self.folder / f"{job.id}.log"

    def ahead_of(self, job: Job) -> list[Job]:
        """Those that are done before it, the next one first."""
        if job.state != "queued":
            return []
        same = [one for one in reversed(self.jobs()) if lane_of(one) == lane_of(job) and one.id != job.id]
        waiting = [one for one in same if one.state == "queued" and one.asked_at < job.asked_at]
        return [one for one in same if one.state == "running"] + waiting

    def submit(self, job: Job) -> Job:
        """Have a job done after all that waits; one that is over once more, which a stopped training goes on with.

        Raises QueueFull.
        """
        with self.changing():
            waiting = [one for one in self.jobs() if one.state == "queued"]
            there = self.job(job.id)
            if there is not None and not there.is_over:  # somebody was quicker
                return there
            if len(waiting) >= self._most:
                raise QueueFull(f"{len(waiting)} wait already: stop one, or wait until one is through")
            job = job if there is None else there.waiting_again()
            write(job, self.folder)
            self._forget_the_oldest()
        self.wake()
        return job

    def _forget_the_oldest(self) -> None:
        for job in [one for one in self.jobs() if one.is_over][_MOST_KEPT:]:
            (self.folder / f"{job.id}.json").unlink(missing_ok=True)
            self.log_file(job).unlink(missing_ok=True)

    def change(self, job_id: str, how: Callable[[Job], Job]) -> Job | None:
        """The job as `how` makes it of what it is now; None where there is none."""
        with self.changing():
            job = self.job(job_id)
            if job is None:
                return None
            changed = how(job)
            if changed != job:
                write(changed, self.folder)
            return changed

    def cancel(self, job_id: str) -> Job | None:
        """Have a job not done, or ask its process to end, as Ctrl-C does: the second time it ends at once."""

        def stopped(job: Job) -> Job:
            if job.state == "queued":
                return replace(job, state="cancelled", ended_at=time())
            if job.state != "running":
                return job
            ask_to_stop(job)
            return replace(job, asked_to_stop=job.asked_to_stop + 1)

        changed = self.change(job_id, stopped)
        self.wake()
        return changed

    def wake(self) -> None:
        """Have what waits done, should nobody be at it; and what a killed runner left behind, found."""
        with _starting:
            jobs = self.jobs()
            for lane in LANES:
                if any(not job.is_over and lane_of(job) == lane for job in jobs) and not self._is_watched(lane):
                    command = [sys.executable, "-m", "pipeline.web.jobs.process", str(self.folder.resolve()), lane]
                    # It leaves this process's family at once.
                    subprocess.run(command, check=False, stdin=_NOWHERE, stdout=_NOWHERE, stderr=_NOWHERE)

    def runner_lock(self, lane: str) -> FileLock:
        """Who does a lane's jobs holds it."""
        return FileLock(self.folder / f".{lane}.runner.lock", thread_local=False)

    def _is_watched(self, lane: str) -> bool:
        lock = self.runner_lock(lane)
        try:
            with lock.acquire(blocking=False):
                return False
        except Timeout:
            return True


def lane_of(job: Job) -> str:
    """Which jobs it does not run beside."""
    return next(lane for lane, kinds in LANES.items() if job.kind in kinds)


def ask_to_stop(job: Job) -> None:
    """The signal that Ctrl-C is in a terminal, to a process that is still the one that did this job."""
    number = job.process.partition(" ")[0]
    if number and identity(int(number)) == job.process:
        with suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGTERM)
