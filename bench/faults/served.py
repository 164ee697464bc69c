"""A small model that reads all that a request may hold, and two servers over it: MLflow's and this program's own."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

NAME = "birds"
CLASSES = {"auk": (50, 60, 200), "owl": (200, 40, 40), "wren": (40, 180, 60)}
_TAXONOMY = (
    ("name", "class", "family", "species"),
    ("auk", "Aves", "Alcidae", "Alca torda"),
    ("owl", "Aves", "Strigidae", "Strix aluco"),
    ("wren", "Aves", "Troglodytidae", "Troglodytes troglodytes"),
)
_SMALL = (
    "model=squeezenet", "regime=scratch", "augmentation=none", "trainer.epochs=3", "trainer.num_workers=0",
    "trainer.accelerator=cpu", "trainer.precision=fp32", "data.image_size=32", "trainer.batch_size=8",
    "data.split.val=0.3", "optimizer.lr=0.001", "data.metadata=[site,depth]", "metadata=concat", "data.crop=box",
)  # fmt: skip
_READY = 180  # seconds in which a server must answer


class Server(NamedTuple):
    """A server that runs: where it answers, and its process."""

    address: str
    process: int


def make_model(folder: Path) -> None:
    """Train a small network that reads columns and boxes, once, and promote it, with today's code."""
    if not (folder / "mlflow.db").is_file():
        _train(folder)
    typed("promote", folder=folder)


def _train(folder: Path) -> None:
    chance, known = np.random.default_rng(0), folder / "birds" / "00.jpg"
    rows: list[Sequence[object]] = [("path", "label", "site", "depth", "box_x", "box_y", "box_width", "box_height")]
    known.parent.mkdir(parents=True)
    for number in range(60):
        name = list(CLASSES)[number % len(CLASSES)]
        pixels = np.clip(np.array(CLASSES[name]) + chance.normal(0, 25, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(known.with_name(f"{number:02}.jpg"))
        rows.append((f"{number:02}.jpg", name, ("north", "south")[number % 2], 5 + number % 7, 8, 8, 40, 30))
    for file, lines in ((known.with_name("birds.csv"), rows), (folder / "taxonomy.csv", _TAXONOMY)):
        with file.open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows(lines)
    typed("train", "data=table", "data.file=birds/birds.csv", "data.taxonomy=taxonomy.csv", *_SMALL, folder=folder)


def typed(command: str, *arguments: str, folder: Path) -> None:
    """Type a command of this program in a folder."""
    line = [sys.executable, "-m", f"pipeline.{command}", *arguments]
    done = subprocess.run(line, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder: Path) -> dict[str, str]:
    """What a server or command over the folder's store is started with."""
    return os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


@contextmanager
def of_mlflow(folder: Path, name: str = NAME, workers: int = 1) -> Iterator[Server]:
    """`mlflow models serve`, until the block ends."""
    asked = ["-m", f"models:/{name}@champion", "--env-manager", "local", "-w", str(workers)]
    with _started([sys.executable, "-m", "mlflow", "models", "serve", *asked, "-p", "{port}"], folder, "/ping") as one:
        yield one


@contextmanager
def own(folder: Path) -> Iterator[Server]:
    """`python -m pipeline.app`, until the block ends, with no limit on how often it may be asked."""
    asked = ["limits.requests=1000000", f"model=models:/{NAME}@champion", "train=false"]
    with _started([sys.executable, "-m", "pipeline.app", *asked, "port={port}"], folder, "/api/health") as one:
        yield one


@contextmanager
def _started(command: Sequence[str], folder: Path, health: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("w") as said:
        line = [part.format(port=port) for part in command]
        server = subprocess.Popen(
            line, cwd=folder, env=environment(folder), stdout=said, stderr=said, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + _READY
        while True:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no server: see {folder / 'server.log'}")
            try:
                urllib.request.urlopen(address + health, timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield Server(address, server.pid)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
