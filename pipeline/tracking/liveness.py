"""Whether the process that is at a run still lives: what a dead one left RUNNING is found by the next command."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from time import time

from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus

from pipeline.common.atomic import clear_abandoned
from pipeline.common.processes import identity
from pipeline.tracking.places import local_folder

RUNNING, KILLED = RunStatus.to_string(RunStatus.RUNNING), RunStatus.to_string(RunStatus.KILLED)
HOST, PROCESS, HEARTBEAT = "process.host", "process.id", "process.heartbeat"
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # another one after a restart, when process numbers begin again
_BEAT, _SILENT = 60, 900  # seconds between signs of life, and after which another machine's process counts as dead

log = logging.getLogger(__name__)


def own_process() -> dict[str, str]:
    """Tags that say which process is at a run: its machine, its number and when it began."""
    return {HOST: _host(), PROCESS: identity(os.getpid()), HEARTBEAT: str(int(time()))}


def is_under_way(run: Run) -> bool:
    """Whether a run is RUNNING and its process lives."""
    return run.info.status == RUNNING and is_alive(run.data.tags)


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process lives that left tags as those of `own_process`."""
    if PROCESS not in tags:
        return False
    if tags.get(HOST) == _host():
        return tags[PROCESS] == identity(int(tags[PROCESS].partition(" ")[0]))
    return time() - float(tags.get(HEARTBEAT, 0)) < _SILENT


def is_own(run: Run) -> bool:
    """Whether this very process is at a run."""
    return run.data.tags.get(PROCESS) == identity(os.getpid()) and run.data.tags.get(HOST) == _host()


def end_the_dead(client: MlflowClient) -> None:
    """Mark as KILLED what processes of this program left RUNNING that were killed, or whose machine was."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    left = f"attributes.status = '{RUNNING}' and tags.`{PROCESS}` LIKE '%'"
    for run in client.search_runs(experiments, left) if experiments else ():
        if not is_under_way(run):
            client.set_tag(run.info.run_id, "error", "its process was ended")
            client.set_terminated(run.info.run_id, KILLED)
            if folder := local_folder(run.info.artifact_uri or ""):
                clear_abandoned(folder, "**/.making-*")
            log.info("run %s (%s) was left by a process that is no more: marked as killed", run.info.run_name,
                     run.info.run_id)  # fmt: skip


class Heartbeat:
    """Says every minute that a run's process lives, for other machines to see; a server that is away stops nothing.

    `note` says it of something else than a run.
    """

    def __init__(self, run_id: str, note: Callable[[str, str], object] | None = None) -> None:
        self._ended = threading.Event()
        self._note = note or (lambda key, value: MlflowClient().set_tag(run_id, key, value))
        self._thread = threading.Thread(target=self._beat, args=(run_id,), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _beat(self, _: str) -> None:
        while not self._ended.wait(_BEAT):
            try:
                self._note(HEARTBEAT, str(int(time())))
            except Exception:  # whoever logs metrics tells of it
                log.debug("no sign of life could be left", exc_info=True)


@cache
def _host() -> str:
    boot = _BOOT.read_text(encoding="ascii").strip()[:8] if _BOOT.exists() else ""
    return f"{socket.gethostname()} {boot}".strip()
