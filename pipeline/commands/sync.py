"""Send runs that wait for a server, or carry them from one store to another:   python -m pipeline.sync"""

from __future__ import annotations

import logging

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.tracking.carrying import carry_all
from pipeline.tracking.places import without_password
from pipeline.tracking.sending import send_what_waits, waiting_for
from pipeline.tracking.store import Store, brief, database, is_here

log = logging.getLogger("pipeline.sync")


def run(config: schema.Sync) -> None:
    """What waits here goes to the store; then all of `source`, each run once however often that is typed."""
    target = Store(config.target or "", "target" if config.target else "MLFLOW_TRACKING_URI")
    if config.source:
        check_source(config.source, target.uri)
        Store(config.source, "source").open(to_write=False)
    target.open()
    if not send_what_waits(target.uri):
        raise Stopped("not all could be sent: the same command again goes on")
    if config.source:
        try:
            done = carry_all(MlflowClient(config.source), MlflowClient())
        except MlflowException as error:
            raise Stopped(f"a store went away ({brief(error)}): the same command again goes on") from None
        log.info("%s carried; %s there before", counted(done.carried, "run"), counted(done.there, "run"))
    if others := waiting_for() - {without_password(target.uri)}:
        log.info("runs wait for %s: name that as target=", " and ".join(sorted(others)))
    elif not config.source:
        log.info("nothing waits here for %s", without_password(target.uri))


def check_source(source: str, target: str) -> None:
    """BadInput where there is no such store, or it is the target."""
    if is_here(source) and not database(source).is_file():
        raise BadInput(f"source={source}: there is no such file")
    same = source.rstrip("/") == target.rstrip("/")
    if is_here(source) and is_here(target) and database(target).exists():
        same = database(source).samefile(database(target))
    if same:
        raise BadInput(f"source and target are one store, {source}: name another as target=")
