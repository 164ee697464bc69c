"""What waits here for a store that was away, sent when it is back: by the next command, or by `sync`."""

import logging
import shutil
from contextlib import suppress

from mlflow import MlflowClient

from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal, journals
from pipeline.tracking.places import unsent_folder, without_password
from pipeline.tracking.selection import FINISHED
from pipeline.tracking.store import brief, database, is_here, stand_in

log = logging.getLogger(__name__)


def send_what_waits(store: str) -> bool:
    """Tell a store what ended processes left for it in this folder. Gives whether it has all of that now."""
    try:
        sent = sum(_send(journal, store) for journal in journals(unsent_folder()))
        if not is_here(store) and database(stand_in(store)).exists():
            from pipeline.tracking.carrying import carry_all  # shows progress; seldom needed

            sent += carry_all(MlflowClient(stand_in(store)), MlflowClient(), move=True).carried
    except Exception as error:  # of as many kinds as there are stores
        log.warning("warning: what waits in %s could not be sent to MLflow (%s)", unsent_folder(), brief(error))
        return False
    if sent:
        log.info("%s that waited here: sent to MLflow", counted(sent, "run"))
    return True


def _send(journal: Journal, store: str) -> bool:
    """Tell a store what a process that is no more left in a journal; False where it is not to."""
    if journal.first().get("store", without_password(store)) != without_password(store) or not journal.hold():
        return False
    try:
        if not (first := journal.first()):  # another process has just sent it, or not one record was to be written
            journal.remove()
            return False
        delivery = Delivery(MlflowClient(), first["run"], journal.files, again=True)
        for record, place in journal.waiting():
            delivery.take(record)
            journal.note_sent(place)
        clear_away(journal, complete=delivery.complete, dead=True)
    finally:
        journal.release()
    return True


def clear_away(journal: Journal, *, complete: bool, dead: bool = False) -> None:
    """Once all is sent, delete the journal of a run that ended, or whose process is `dead`; and the files of one that
    is through, unless some were refused.
    """
    last = journal.last()
    if not journal.all_sent or not (dead or last["do"] == "end"):
        return
    if last.get("status") == FINISHED and complete:
        shutil.rmtree(journal.files, ignore_errors=True)
    journal.remove()


def check_room(most_gb: float) -> None:
    """BadInput where so much waits in this folder that a run more may be too many."""
    if (size := waiting_bytes() / 1e9) > most_gb:
        raise BadInput(
            f"{size:.3g} GB wait in {unsent_folder()} for an MLflow server, more than tracking.unsent_gb={most_gb:g}: "
            "start it and type python -m pipeline.sync, or give them more room"
        )


def waiting_for() -> set[str]:
    """The stores that what ended processes left in this folder is for."""
    return {str(journal.first()["store"]) for journal in journals(unsent_folder()) if journal.first()}


def waiting_bytes() -> int:
    """How much waits in this folder, for whatever store."""
    size = 0
    for file in unsent_folder().rglob("*"):
        with suppress(FileNotFoundError):  # sent just now
            size += file.lstat().st_size
    return size
