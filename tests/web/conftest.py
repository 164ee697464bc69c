import csv
import io
import shutil
import socket
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from threading import Thread

import mlflow
import numpy as np
import pytest
import torch
import uvicorn
from chromium import browser
from PIL import Image
from starlette.testclient import TestClient

from pipeline.config import schema
from pipeline.web.server import application
from pipeline.web.settings import Settings

LIMITS = {"request_mb": 8, "megapixels": 20, "pictures": 50, "visitors": 5, "idle_minutes": 60, "requests": 100_000}
EVIL = "<img src=x onerror=alert(1)>"  # a class, as somebody may have called a folder
_REFUSED = "Failed to load resource"  # what a 400 is to Chromium
COLOURS = {"owl": (200, 40, 40), "wren": (40, 180, 60), EVIL: (50, 60, 200)}


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
def open_page(request, settings):
    """`open_page(password=...)`: a client of a server that was started so, over an empty store, or over `trained`."""
    request.getfixturevalue("asked_about" if "trained" in request.fixturenames else "store")
    opened = []

    def _open(**given):
        client = TestClient(application(settings(**given)), base_url="http://127.0.0.1:7860")
        opened.append(client.__enter__())
        return opened[-1]

    yield _open
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def asked_about(trained, monkeypatch):
    """MLflow looks at the store of `trained`."""
    monkeypatch.chdir(trained)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{trained / 'mlflow.db'}")


@pytest.fixture(scope="session")
def trained(_made_store, tmp_path_factory):
    """The folder of a store with a champion that tells `COLOURS` apart, and its photographs; epoch 1 is kept too."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(_made_store, folder / "mlflow.db")
    chance = np.random.default_rng(0)
    for number in range(60):
        name = list(COLOURS)[number % 3]
        file = folder / "birds" / name / f"{number:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coloured(COLOURS[name], chance)).save(file)
    with (folder / "beside.csv").open("w", newline="", encoding="utf-8") as file:
        found = sorted((folder / "birds").rglob("*.jpg"))
        rows = [
            [path.relative_to(folder / "birds"), ("north", "south")[place % 2], 5 + place % 7]
            for place, path in enumerate(found)
        ]
        csv.writer(file).writerows([["path", "site", "depth"], *rows])
    with (folder / "taxonomy.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [
                ["name", "class", "family", "species", "common_name", "common_name_es"],
                ["owl", "Aves", "Strigidae", "Strix aluco", "Tawny Owl", "Cárabo común"],
                ["wren", "Aves", "Troglodytidae", "Troglodytes troglodytes", "Wren", "Chochín"],
            ]
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for command in (
            ["train", "data=folder", f"data.root={folder / 'birds'}", f"data.taxonomy={folder / 'taxonomy.csv'}",
             f"data.beside={folder / 'beside.csv'}", "data.metadata=[site,depth]",
             "model=squeezenet", "regime=scratch", "augmentation=none", "trainer.epochs=6", "trainer.keep_epochs=[1]",
             "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.precision=fp32", "data.image_size=32",
             "trainer.batch_size=8", "data.split.val=0.3", "optimizer.lr=0.001"],
            ["promote"],
        ):  # fmt: skip
            patch.setattr(sys, "argv", command)
            import_module(f"pipeline.{command[0]}").main()
    torch.set_flush_denormal(False)  # as training sets it, which Hypothesis refuses to work with
    return folder


def coloured(colour, chance):
    """(h, w, 3) pixels of noise around a colour."""
    return np.clip(np.array(colour) + chance.normal(0, 25, (48, 64, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photograph():
    """`photograph("owl")`: a JPEG's bytes of one that no training had."""

    def _made(name, kind="JPEG", seed=7):
        buffer = io.BytesIO()
        Image.fromarray(coloured(COLOURS[name], np.random.default_rng(seed))).save(buffer, kind)
        return buffer.getvalue()

    return _made


@pytest.fixture
def served(asked_about, settings):
    """`with served(password=...) as address:` a server that browsers and programs reach."""

    @contextmanager
    def _served(**given):
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(application(settings(port=port, **given)), log_config=None))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()

    return _served


@pytest.fixture(scope="session")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture
def visit(chromium):
    """`visit(address, locale="es")`: a page of a new visitor; whatever its console says against us fails the test."""
    contexts, said = [], []

    def _visit(address, **how):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en"} | how)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "console", lambda one: said.append(one.text) if one.type == "error" and _REFUSED not in one.text else None
        )
        page.on(
            "request", lambda one: said.append(one.url) if not one.url.startswith((address, "data:", "blob:")) else None
        )
        page.on("dialog", lambda one: said.append(f"dialog {one.message}"))
        page.goto(address)
        return page

    yield _visit
    for context in contexts:
        context.close()
    assert said == []
