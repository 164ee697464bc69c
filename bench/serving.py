"""What a request to the served model costs: mobilenet_v2 at 224 pixels, two threads, photographs of 500 x 375 pixels.

    python bench/serving.py                      all of it, under five minutes where the machine has nothing else to do
    python bench/serving.py --only request       the cost of one; or batches, workers, ready

Against what, pairs taking turns (n, medians, and between what half of them lie):

- request: one picture by HTTP to `mlflow models serve`, and the bare network on the same pixels, decoded and resized.
- batches: sixteen pictures in one request, and in sixteen, one after the other.
- workers: eight clients at once, one worker, and two, with as many threads as they take by themselves.
- ready: from the command to the first answer to `/ping`, and what its processes import, by themselves.

A network of random weights, with all that `promote` keeps (what is unknown, ranks, sets), over photographs made up.
"""

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import requests
from PIL import Image, ImageFilter

sys.path.insert(0, str(Path(__file__).parent / "faults"))
from served import Server, environment, of_mlflow, typed

NAME, CLASSES, PICTURES = "photos", 20, 16
THREADS = "2"
# What `mlflow models serve` imports before it starts its server, and what that imports.
_IMPORTS = ("import mlflow.cli, mlflow.pyfunc.backend", "import mlflow.pyfunc.scoring_server, pipeline.serving.pyfunc")


def photographs(count: int) -> list[bytes]:
    """JPEGs of about 45 kilobytes."""
    made, chance = [], np.random.default_rng(0)
    for _ in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        noise = Image.fromarray(chance.integers(0, 256, (375, 500, 3), dtype=np.uint8)).filter(ImageFilter.BoxBlur(1))
        file = io.BytesIO()
        Image.blend(coarse, noise, 0.3).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


def make_model(folder: Path) -> None:
    """A run of two batches, promoted."""
    if not (folder / "mlflow.db").is_file():
        for number, data in enumerate(photographs(CLASSES * 10)):
            file = folder / NAME / f"species {number % CLASSES:02}" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        typed(
            "train", "data=folder", f"data.root={NAME}", "model=mobilenetv2", "regime=scratch", "trainer.epochs=1",
            "augmentation=none", "trainer.limit_batches=2", "trainer.precision=fp32", "trainer.num_workers=0",
            "data.split.val=0.4", "trainer.accelerator=cpu", folder=folder,
        )  # fmt: skip
    typed("promote", folder=folder)


def body(pictures: Sequence[bytes]) -> bytes:
    """A request for them."""
    rows = [{"image": base64.b64encode(one).decode()} for one in pictures]
    return json.dumps({"dataframe_records": rows}).encode()


def seconds(do: Callable[..., object], *given: object) -> float:
    """How long it takes."""
    start = perf_counter()
    do(*given)
    return perf_counter() - start


def asked(session: requests.Session, server: Server, sent: bytes) -> None:
    """Ask, and have an answer."""
    got = session.post(f"{server.address}/invocations", data=sent, headers={"Content-Type": "application/json"})
    assert got.status_code == 200, got.text


def said(each: Sequence[float], unit: str = "ms", scale: float = 1000) -> str:
    """A median, and between what half of them lie."""
    low, middle, high = np.percentile(np.array(each) * scale, (25, 50, 75))
    return f"{middle:,.1f} {unit} ({low:,.1f} to {high:,.1f})"


def of_request(folder: Path, times: int = 100) -> None:
    """One picture against the network."""
    import mlflow
    import torch

    from pipeline.data.batch import Inputs
    from pipeline.ensembles.scoring import said_of
    from pipeline.serving.bundle import read_bundle

    torch.set_num_threads(int(THREADS))
    mlflow.set_tracking_uri(environment(folder)["MLFLOW_TRACKING_URI"])
    bundle = read_bundle(Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}@champion")) / "artifacts" / "served")
    (member,) = bundle.members
    pictures = photographs(PICTURES)
    pixels = [Inputs(member.spec.preprocessing.read(one)[None]) for one in pictures]
    taken: dict[str, list[float]] = {"a request": [], "the network": [], "reading the picture": []}
    with of_mlflow(folder, NAME) as server, requests.Session() as session:
        for number in range(times + 10):
            place = number % PICTURES
            here = (
                seconds(asked, session, server, body(pictures[place : place + 1])),
                seconds(said_of, bundle.members, None, {member.spec.wants: pixels[place]}),
                seconds(member.spec.preprocessing.read, pictures[place]),
            )
            if number >= 10:
                for each, one in zip(taken.values(), here, strict=True):
                    each.append(one)
    for name, each in taken.items():
        print(f"{name}: {said(each)}")
    pairs = [one - other for one, other in zip(taken["a request"], taken["the network"], strict=True)]
    share = np.median(pairs) / np.median(taken["the network"])
    print(f"above the network: {said(pairs)}, {100 * share:.0f} % of it, n = {times}")


def of_batches(folder: Path, times: int = 12) -> None:
    """Sixteen in a request against sixteen requests."""
    pictures = photographs(PICTURES)
    single, all_of = [body([one]) for one in pictures], body(pictures)
    taken: dict[str, list[float]] = {"sixteen in one request": [], "sixteen requests": []}
    with of_mlflow(folder, NAME) as server, requests.Session() as session:
        for number in range(times + 2):
            here = (
                seconds(lambda: asked(session, server, all_of)),
                seconds(lambda: [asked(session, server, one) for one in single]),
            )
            if number >= 2:
                for each, one in zip(taken.values(), here, strict=True):
                    each.append(one)
    for name, each in taken.items():
        print(f"{name}: {said([PICTURES / one for one in each], 'pictures a second', 1)}")
    ratios = [other / one for one, other in zip(*taken.values(), strict=True)]
    print(f"batches against single ones: {said(ratios, 'times', 1)}, n = {times}")


def of_workers(folder: Path, times: int = 8, clients: int = 8) -> None:
    """Pictures a second for many clients."""
    sent = [body([one]) for one in photographs(PICTURES)] * 3
    found: dict[str, list[float]] = {"one worker": [], "two workers": []}
    with (
        of_mlflow(folder, NAME, 1) as one, of_mlflow(folder, NAME, 2) as two,
        requests.Session() as session, ThreadPoolExecutor(clients) as pool,
    ):  # fmt: skip
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=clients))
        for number in range(times + 2):
            for name, server in zip(found, (one, two), strict=True):
                took = seconds(lambda ask: list(pool.map(ask, sent)), partial(asked, session, server))
                if number >= 2:
                    found[name].append(len(sent) / took)
    for name, each in found.items():
        print(f"{name}, {clients} clients: {said(each, 'pictures a second', 1)}")
    ratios = [two / one for one, two in zip(*found.values(), strict=True)]
    print(f"two workers against one: {said(ratios, 'times', 1)}, n = {times}")


def of_ready(folder: Path, times: int = 3) -> None:
    """A start against its imports."""
    taken: dict[str, list[float]] = {"ready": [], "imports": []}
    for _ in range(times):
        start = perf_counter()
        with of_mlflow(folder, NAME):
            taken["ready"].append(perf_counter() - start)
        taken["imports"].append(
            sum(
                seconds(partial(subprocess.run, check=True, env=environment(folder)), [sys.executable, "-c", code])
                for code in _IMPORTS
            )
        )
    for name, each in taken.items():
        print(f"{name}: {said(each, 's', 1)}")
    ratios = [one / other for one, other in zip(*taken.values(), strict=True)]
    print(f"ready against the imports: {said(ratios, 'times', 1)}, n = {times}")


def main() -> None:
    """From the command line."""
    parts = {"request": of_request, "batches": of_batches, "workers": of_workers, "ready": of_ready}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=parts, action="append")
    parser.add_argument("--folder", type=Path, default=None, help="where the model lies, or is made")
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="serving-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_model(folder)
    for name in given.only or parts:
        os.environ["OMP_NUM_THREADS"] = THREADS
        if name == "workers":  # as people start them
            del os.environ["OMP_NUM_THREADS"]
        parts[name](folder)


if __name__ == "__main__":
    main()
