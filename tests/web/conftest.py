import pytest
from starlette.testclient import TestClient

from pipeline.config import schema
from pipeline.web.server import application
from pipeline.web.settings import Settings

LIMITS = {"request_mb": 8, "megapixels": 20, "pictures": 50, "visitors": 5, "idle_minutes": 60, "requests": 100_000}


def app_config(**given):
    """A config of the command as Hydra would compose it, but for what is given."""
    limits = LIMITS | given.pop("limits", {})
    plain = {
        "host": "127.0.0.1", "port": 7860, "password": None, "folders": [], "model": None,
        "tracking": {"experiment": None}, "allowed_hosts": [], "train": True, "limits": limits,
    }  # fmt: skip
    return schema.App(**plain | given)


@pytest.fixture
def settings():
    """`settings(password=...)`: what a server is started with."""
    return lambda **given: Settings.of(app_config(**given))


@pytest.fixture
def open_page(store, settings):
    """`open_page(password=...)`: a client of a server that was started so, in a folder with an empty store."""
    opened = []

    def _open(**given):
        client = TestClient(application(settings(**given)), base_url="http://127.0.0.1:7860")
        opened.append(client.__enter__())
        return opened[-1]

    yield _open
    for client in opened:
        client.__exit__(None, None, None)
