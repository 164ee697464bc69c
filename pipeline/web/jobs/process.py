"""The runner of a lane: a process that does the jobs of a folder one after the other, and ends when none is left.

    python -m pipeline.web.jobs.process FOLDER LANE

The page starts it and may be killed: it goes on. Killed itself, the command at which it was goes on too; that holds a
lock for as long as it lives, so the next runner waits for its end and reads off the store what came of it.
"""

import fcntl
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import time

from filelock import Timeout

from pipeline.common.processes import identity
from pipeline.web.jobs.queue import Queue, lane_of
from pipeline.web.jobs.record import COMMANDS, Job, State, Why, write

_NICE = 10  # of 19: answers that people wait for go first
_OF_THE_PAGE = ("PIPELINE_PASSWORD", "PIPELINE_OWN_FOLDER")  # what of its environment is no business of a command
_ENDED_BY_REQUEST = tuple(sign * (base + number) for number in (1, 2, 15) for sign, base in ((-1, 0), (1, 128)))
_LAST_LINES = 40
_PATIENCE = 1.0  # seconds; who only looks whether the lock is held holds it for a moment


def run_lane(queue: Queue, lane: str) -> None:
    """Do all that waits in a lane, unless another process is at it."""
    lock = queue.runner_lock(lane)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        return
    try:
        while True:
            held = _free_cores(queue.folder / f".{lane}.at_work.lock")
            _find_the_lost(queue, lane)
            with queue.changing():
                waiting = [job for job in reversed(queue.jobs()) if job.state == "queued" and lane_of(job) == lane]
                if not waiting:
                    lock.release()  # before another page can add one, and take this process for one that does it
                    return
                started = _start(queue, waiting[0], held)
            if started is not None:
                _end(queue, started[0], started[1].wait())
    finally:
        lock.release()


def _free_cores(file: Path) -> int:
    """A handle of the lock that whoever is at work in the lane holds; waited for."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _start(queue: Queue, job: Job, held: int) -> tuple[Job, "subprocess.Popen[bytes]"] | None:
    """The job's command as a process, which holds the lane's lock from its first moment to its last.

    None where the system does not start it: the job has failed then, and those behind it go on.
    """
    threads = str(max(1, (os.cpu_count() or 1) - 1))  # one core is left to answers
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THE_PAGE}
    environment |= {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-u", "-m", f"pipeline.{COMMANDS[job.kind]}", *job.arguments]
    try:
        with queue.log_file(job).open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=(held,),
                env=environment,
            )  # fmt: skip
    except OSError as error:
        failed = replace(job, state="failed", ended_at=time(), why="error", said=str(error.strerror))
        write(failed, queue.folder)
        return None
    finally:
        os.close(held)
    job = replace(job, state="running", began_at=time(), process=identity(process.pid))
    write(job, queue.folder)
    return job, process


def _end(queue: Queue, job: Job, code: int) -> None:
    """Note what came of a job's process."""
    if code == 0:
        _note(queue, job, "finished")
    elif code in _ENDED_BY_REQUEST:
        _note(queue, job, "cancelled")
    elif code < 0:
        _note(queue, job, "failed", "killed")
    else:
        _note(queue, job, "failed", "error", _last_word(queue.log_file(job)))


def _last_word(log: Path) -> str:
    """The error of a log's end; of a traceback its last line."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        last = [line.strip() for line in deque(lines, _LAST_LINES) if line.strip()]
    errors = [line.removeprefix("error: ") for line in last if line.startswith("error: ")]
    return (errors or last or [""])[-1][:500]


def _find_the_lost(queue: Queue, lane: str) -> None:
    """Settle the jobs whose runner was killed: nobody is at work in this lane any more."""
    for job in queue.jobs():
        if job.state == "running" and lane_of(job) == lane:
            from pipeline.tracking.store import Store  # MLflow, which is seldom needed here
            from pipeline.web.jobs.run import run_of

            Store(required=False).open()
            run = run_of(queue, job)
            if run is not None and run.info.status == "FINISHED":
                _note(queue, job, "finished")
            elif job.asked_to_stop:
                _note(queue, job, "cancelled")
            else:
                _note(queue, job, "failed", "lost")


def _note(queue: Queue, job: Job, state: State, why: Why = "", said: str = "") -> None:
    """How a job ended."""
    queue.change(job.id, lambda now: replace(now, state=state, ended_at=time(), why=why, said=said))


def leave_family() -> None:
    """Be nobody's child, in a session of its own: who started this may end, and need not wait for its end."""
    os.setsid()
    if os.fork():
        os._exit(0)


if __name__ == "__main__":
    leave_family()
    os.nice(_NICE)
    with suppress(OSError):  # Linux weighs niceness within a session alone, where it groups by those
        Path("/proc/self/autogroup").write_text(str(_NICE), encoding="ascii")
    run_lane(Queue(Path(sys.argv[1])), sys.argv[2])
