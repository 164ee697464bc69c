import os
import shutil

import mlflow
import pytest
from mlflow_server import Proxy, served

from pipeline.tracking import outbox, servers
from pipeline.tracking.store import Store, database, stand_in


@pytest.fixture(scope="module")
def _server(_made_store, tmp_path_factory):
    with served(tmp_path_factory.mktemp("server"), _made_store) as port:
        yield port


@pytest.fixture
def proxy(_server, tmp_path, monkeypatch):
    """A real server's proxy, to which MLFLOW_TRACKING_URI points at once asked anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(outbox, "PATIENCE", 60)  # however busy the machine is
    monkeypatch.setattr(servers, "_ASKED_AGAIN", 0)
    monkeypatch.delenv("PIPELINE_SERVER", raising=False)
    monkeypatch.delenv("PIPELINE_SWEEP_RUN_ID", raising=False)
    made = Proxy(_server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    Store().open()
    yield made
    made.close()


@pytest.fixture
def stand_in_made(proxy, _made_store):
    """The store that stands in for the server, empty: making one takes some seconds."""
    file = database(stand_in(proxy.uri))
    file.parent.mkdir(parents=True)
    shutil.copy(_made_store, file)


@pytest.fixture
def at_the_server(_server):
    """What the server has, whatever state the proxy is in."""
    return mlflow.MlflowClient(f"http://127.0.0.1:{_server}")


@pytest.fixture(autouse=True)
def _address_of_before(monkeypatch):
    """`Store.open` leaves its address in the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI", ""))
