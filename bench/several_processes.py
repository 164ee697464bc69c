"""Several processes on one machine against one: how soon they begin to learn, and how fast they do.

    python bench/several_processes.py start [--rows 100000] [--processes 4] [--repeats 3]
    python bench/several_processes.py speed --pictures PHOTOS --weights mobilenet_v2.pth [--processes 2] [--repeats 4]

Aims: 1.3 times as long; 0.9 times as fast as one process with as many threads. The command itself is run, in turns, so
that a noisy machine hits all alike; each pair is printed, then the median ratio with the lowest and the highest.
`start`: a made table, a file a row (hard links to some small JPEGs), read through with nothing kept from before;
seconds until the first epoch, of one batch, is told. How often each process reads of files shows who read the pictures:
a file is a read or more. `speed`: pictures a second of the epochs after the first.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

ROOT = Path(__file__).parents[1]
SPECIES, LINKS = 20, 50_000  # a file can have so many names and some more


def made(folder: Path, rows: int) -> Path:
    """A table of so many pictures, of species in turn."""
    chance = np.random.default_rng(0)
    paths = [f"{number // 1000}/{number}.jpg" for number in range(rows)]
    for number, path in enumerate(paths):
        if not number % 1000:
            (folder / path).parent.mkdir()
        if not number % LINKS:
            first = folder / path
            Image.fromarray(chance.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(first)
        else:
            os.link(first, folder / path)
    label = [f"species {number % SPECIES}" for number in range(rows)]
    pd.DataFrame({"path": paths, "label": label}).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def lines(overrides: list[str], folder: Path, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """What a training says, line by line, and its first process."""
    own = {"PIPELINE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", *overrides, "resume=never"], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env=os.environ | own,
    )  # fmt: skip
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        yield line, psutil.Process(process.pid)
    if process.wait():
        raise SystemExit("".join(said))


def reads(first: psutil.Process) -> list[int]:
    """How often a training's processes have read of files, the first one first."""
    beside = [one for one in first.children() if "pipeline.experiment.follower" in one.cmdline()]
    return [one.io_counters().read_count for one in (first, *beside)]


def start(table: Path, processes: int) -> float:
    """Seconds until the first epoch is told."""
    began, seconds = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            "data=table", f"data.file={table}", "data.image_size=32",
            "model=squeezenet", "regime=scratch", "trainer.limit_batches=1", "trainer.epochs=1", "augmentation=none",
            "trainer.num_workers=0", f"trainer.devices={processes}",
        ]  # fmt: skip
        for line, first in lines(overrides, Path(folder), 1):
            if line.startswith("epoch ") and not seconds:
                seconds = time.perf_counter() - began
                print(f"  {processes}: {seconds:.1f} s; reads: {reads(first)}", flush=True)
    return seconds


def speed(pictures: Path, weights: Path, processes: int, threads: int) -> float:
    """Pictures a second."""
    overrides = [
        "data=folder", f"data.root={pictures}", "data.image_size=96", "data.cache=memory", "model=mobilenetv2",
        "regime=imagenet", f"model.weights_file={weights}", "trainer.limit_batches=12", "trainer.epochs=3",
        "trainer.num_workers=0", "trainer.precision=fp32", f"trainer.devices={processes}", f"trainer.threads={threads}",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        told = [
            re.search(r"epoch +[23] .* ([\d.]+) pictures/s", line)
            for line, _ in lines(overrides, Path(folder), threads)
        ]
    found = statistics.mean(float(one[1].replace(",", "")) for one in told if one)
    print(f"  {processes} of {threads} threads: {found:.1f} pictures/s", flush=True)
    return found


def compare(one: Callable[[], float], several: Callable[[], float], repeats: int) -> None:
    """A pair after the other, the first of them in turns."""
    ratios = []
    for number in range(repeats):
        if number % 2:
            divisor = one()
            ratios.append(several() / divisor)
        else:
            ratios.append(several() / one())
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; n = {repeats} pairs)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "speed"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--repeats", type=int)
    given = parser.parse_args()
    if given.what == "start":
        with tempfile.TemporaryDirectory() as place:
            csv, n = made(Path(place), given.rows), given.processes or 4
            compare(lambda: start(csv, 1), lambda: start(csv, n), given.repeats or 3)
    else:
        n = given.processes or 2
        compare(
            lambda: speed(given.pictures, given.weights, 1, n),
            lambda: speed(given.pictures, given.weights, n, 1),
            given.repeats or 4,
        )
