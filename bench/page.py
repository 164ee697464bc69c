"""How fast the page is: to its first sight, and from the network's answer to its being shown, in a real browser.

    python bench/page.py FOLDER_OF_PICTURES [n] [visitors]

In a folder with a store that has a champion. The server and Chromium are on the same machine.
"""

import asyncio
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import numpy as np
import requests
import uvicorn
from omegaconf import OmegaConf
from playwright.sync_api import sync_playwright

from pipeline.config import schema
from pipeline.config.keys import CONF
from pipeline.data.unlabelled import find_pictures
from pipeline.tracking.store import Store
from pipeline.web.answering import Answering
from pipeline.web.server import application
from pipeline.web.settings import Settings

# When the page shows a new answer, in milliseconds since 1970.
_WATCH = """() => { window.shown = []; new MutationObserver((all) => {
    for (const one of all) for (const item of one.addedNodes)
      if (item.nodeName === "LI") requestAnimationFrame(() => window.shown.push(Date.now())); })
  .observe(document.getElementById("list"), { childList: true }); }"""
answered: list[float] = []


def note(answers):
    """The same, and when it was done."""

    async def noted(*given, **more):
        found = await answers(*given, **more)
        answered.append(time.time())
        return found

    return noted


def start() -> str:
    """The address of a server that is ready, with a champion in memory."""
    plain = OmegaConf.to_container(OmegaConf.load(CONF / "app.yaml"))
    plain = {key: value for key, value in plain.items() if key not in ("defaults", "hydra")}
    plain["limits"]["requests"] = 10**6
    Store().open()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application(Settings.of(schema.App(**plain))), log_level="warning", access_log=False)
    )
    Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True).start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    while requests.get(address, timeout=60).status_code != 200:
        time.sleep(0.1)
    return address


def told(name: str, seconds: list[float]) -> None:
    """Print times."""
    low, middle, high = np.percentile(seconds, [0, 50, 100])
    print(f"{name}: median {middle:.2f} s, {low:.2f} to {high:.2f} (n = {len(seconds)})")


def browse(address: str, pictures: list[Path], n: int) -> None:
    """One visitor in a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        first = []
        for _ in range(n):
            page = browser.new_context().new_page()
            begin = time.time()
            page.goto(address)
            first.append(time.time() - begin)
            page.context.close()
        told("first page", first)
        page = browser.new_context().new_page()
        page.goto(address)
        page.evaluate(_WATCH)
        answered.clear()
        whole = []
        for number, picture in enumerate(pictures[:n]):
            begin = time.time()
            page.locator("#files").set_input_files(picture)
            page.locator("#go").click()
            page.locator("li.asked").nth(number).wait_for()
            whole.append(time.time() - begin)
        shown = page.evaluate("window.shown")
        told("from choosing a picture to its answer", whole)
        told(
            "from the network's answer to its being shown",
            [one / 1000 - other for one, other in zip(shown, answered, strict=True)],
        )
        browser.close()


def together(address: str, pictures: list[Path], visitors: int) -> None:
    """Several programs, each asking about five pictures, one after the other."""

    def ask(number: int) -> list[float]:
        waits = []
        for picture in pictures[number::visitors][:5]:
            begin = time.time()
            requests.post(
                f"{address}/api/predict", files=[("files", picture.open("rb"))], timeout=60
            ).raise_for_status()
            waits.append(time.time() - begin)
        return waits

    with ThreadPoolExecutor(visitors) as pool:
        told(f"{visitors} at once, each answer", [one for waits in pool.map(ask, range(visitors)) for one in waits])


if __name__ == "__main__":
    folder, n, visitors = (*sys.argv[1:], *("20", "8")[len(sys.argv) - 2 :])[:3]
    chosen = find_pictures(folder)
    chosen = [chosen[place] for place in np.random.default_rng(0).permutation(len(chosen))[:400]]
    Answering.answers = note(Answering.answers)
    where = start()
    browse(where, chosen, int(n))
    together(where, chosen, int(visitors))
