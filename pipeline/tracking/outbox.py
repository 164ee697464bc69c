"""The way of a run's records to its store: straight to one on this machine, through a journal to any other."""

import logging
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

from mlflow import MlflowClient

from pipeline.common.errors import Stopped
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import ENDING, Journal, Record
from pipeline.tracking.places import unsent_folder, without_password
from pipeline.tracking.sending import clear_away
from pipeline.tracking.store import brief

# At its end a run waits for its store so many seconds after that last answered, and one more for each megabyte of the
# file that is under way.
PATIENCE, _MEGABYTE = 10.0, 2**20
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between tries

log = logging.getLogger(__name__)


class Outbox:
    """Takes a run's records without keeping it waiting, and sees that its store gets each of them, in order, once.

    A store on this machine (`direct`) is told at once; what it does not take, and all that comes after, goes through
    a journal, as everything does for a store elsewhere, which a thread beside the training tells. What is left when the
    process ends is sent by the next command. `required`: not to be taken is an error.
    """

    def __init__(self, run_id: str, folder: Path, store: str, *, direct: bool, required: bool) -> None:
        self._journal = Journal(unsent_folder() / f"{run_id}{ENDING}")
        self._delivery = Delivery(MlflowClient(), run_id, folder)
        self._first = {"do": "begin", "run": run_id, "store": without_password(store)}
        self._direct, self._required = direct, required
        self._put = self._taken = self._settled = self._failures = 0  # places in the journal, but for the last
        self._problem, self._answered, self._allowed = "", monotonic(), PATIENCE
        self._news, self._given_up = Event(), False
        if not direct:
            self._open()
            Thread(target=self._keep_sending, daemon=True).start()

    def put(self, *records: Record) -> None:
        """Take records. Raises OSError where the journal's disk is full, Stopped where a required store is away."""
        if self._direct and not self._journal.held:
            try:
                for record in records:
                    self._delivery.take(record)
            except Exception as error:  # of as many kinds as there are stores
                self._failed(error)
                self._open()
            else:
                return
        self._put = self._journal.append(*records)
        if self._direct:
            self._send()
        self._news.set()
        if self._required and self._problem:
            self._required = False  # what is logged of the end is kept without another word
            raise Stopped(
                f"MLflow's store {self._first['store']} does not answer ({self._problem}), and tracking.required=true; "
                "what was logged is kept: when it answers, the same command goes on"
            )

    def close(self) -> bool:
        """Wait until the store has everything, as long as it answers. Gives whether it has; if not, others may send."""
        began, failures = monotonic(), self._failures
        self._news.set()
        while not (self._direct or self._settled == self._put or self._failures > failures):
            if monotonic() - max(began, self._answered) > self._allowed:
                break
            sleep(0.02)
        if self._settled == self._put:
            return True
        self._given_up = True
        self._journal.release()
        return False

    def _open(self) -> None:
        if not self._journal.hold(patience=60):
            raise Stopped(f"another process sends what run {self._first['run']} logged before: try again in a minute")
        self._taken = self._journal.sent
        self._put = self._journal.append(*(() if self._journal.first() else (self._first,)))

    def _keep_sending(self) -> None:
        pause = _PAUSE
        while self._journal.held:
            self._news.wait()
            self._news.clear()
            while self._journal.held and not self._send():
                self._news.wait(pause)
                self._news.clear()
                pause = min(2 * pause, _LONGEST_PAUSE)
            pause = _PAUSE

    def _send(self) -> bool:
        """Tell the store what waits; whether it took all of it."""
        try:
            for record, place in self._journal.waiting():
                self._allowed = PATIENCE + self._delivery.size(record) / _MEGABYTE
                self._delivery.take(record)
                if self._given_up:  # perhaps another process is at it by now
                    return False
                self._journal.note_sent(place)
                self._taken, self._answered = place, monotonic()
            clear_away(self._journal, complete=self._delivery.complete)
        except Exception as error:
            self._failed(error)
            return False
        if self._problem:
            log.info("MLflow answers again, and has what waited")
            self._problem = ""
        self._settled = self._taken
        return True

    def _failed(self, error: Exception) -> None:
        if not self._problem:
            log.warning(
                "warning: MLflow takes nothing now (%s): what is logged waits in %s, and training goes on",
                brief(error), self._journal.files.parent,
            )  # fmt: skip
        self._problem, self._failures = brief(error), self._failures + 1
