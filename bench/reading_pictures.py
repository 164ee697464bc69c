"""Pictures a second on one core, against torchvision's ImageFolder with Pillow: decode, resize, whole loader, cache.

    python bench/reading_pictures.py [FOLDER ...] [--pictures 300] [--rounds 7] [--megapixels 12 --made 12]

FOLDERs hold a folder a class. Photographs of 12 megapixels (noise over gradients, JPEG quality 90) are made
beside them. The two sides take turns, round by round, so that a busy machine slows both; a ratio is of one
round, and its median and range over rounds are shown. Aims: 1.5 times as fast on small photographs, 3 times on
large ones. Then each folder's files against tars of them (GNU tar, 1,000 a tar), in a new order each round: bytes
alone with the disk's cache full, and by the clock with it emptied of these files (their names stay known), and the
whole loader.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from pipeline.data.reading.decoding import decode, read_file
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.table import PictureTable

SIDE = 224
BATCH = 32
Run = Callable[[], object]


def pairs(table: PictureTable, rows: np.ndarray, folder: Path) -> dict[str, tuple[Run, Run]]:
    """For each measurement the reference's run and ours, over the same pictures."""
    paths = [str(folder / path) for path in table.rows["path"].to_numpy()[rows]]
    how = Preprocessing(SIDE)
    # What torchvision's documentation shows: Pillow opens and resizes, the tensor comes last.
    reference = v2.Compose([v2.Resize((SIDE, SIDE)), v2.ToImage()])
    images = ImageFolder(str(folder), transform=reference)
    by_path = {path: place for place, (path, _) in enumerate(images.samples)}
    chosen = torch.utils.data.Subset(images, [by_path[path] for path in paths])
    loader = DataLoader(chosen, batch_size=BATCH)
    ours = PictureBatches(table, rows, how, batch_size=BATCH)
    as_tensor = v2.ToImage()
    return {
        "decode": (
            lambda: [as_tensor(images.loader(path)) for path in paths],
            lambda: [decode(path, SIDE) for path in paths],
        ),
        "decode and resize": (
            lambda: [reference(images.loader(path)) for path in paths],
            lambda: [how.read(path) for path in paths],
        ),
        "end to end": (lambda: list(loader), lambda: list(ours)),
    }


def compare(
    name: str,
    runs: Sequence[Run],
    pictures: int,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    before: Run = bool,
) -> None:
    """Print both speeds and the ratio, rounds taken in turns after one that does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for side in (0, 1) if number % 2 else (1, 0):
            before()
            start = clock()
            runs[side]()
            if number:
                seconds[side].append(clock() - start)
    ratios = [theirs / ours for theirs, ours in zip(*seconds, strict=True)]
    theirs, ours = (pictures / statistics.median(some) for some in seconds)
    print(
        f"  {name:20} {theirs:8.1f} {ours:8.1f} pictures/s   {statistics.median(ratios):5.2f} times "
        f"({min(ratios):.2f} to {max(ratios):.2f}, n = {rounds})",
        flush=True,
    )


def make_shards(folder: Path, made: Path) -> Path:
    """Tars of a folder's files, as docs/scale.md shows it."""
    made.mkdir()
    split = ["split", "-l", "1000", "-d", "-a", "4", "--additional-suffix=.tar"]
    tar = f"tar --create --dereference --hard-dereference --verbatim-files-from --files-from=- --file='{made}'/$FILE"
    names = subprocess.run(["find", ".", "-type", "f"], cwd=folder, capture_output=True, check=True).stdout
    subprocess.run([*split, f"--filter={tar}", "-", ""], cwd=folder, input=names, check=True)
    return made


def forget(folder: Path) -> None:
    """Empty the system's cache of what a folder's files hold."""
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def compare_shards(folder: Path, most: int, rounds: int) -> None:
    """Files against tars of them."""
    with tempfile.TemporaryDirectory() as place:
        shards = make_shards(folder, Path(place) / "tars")
        tables = read_source("folder", root=str(folder)), read_source("shards", root=str(shards))
        chance = np.random.default_rng(0)
        rows = chance.permutation(len(tables[0].rows))[:most]

        def read(table: PictureTable) -> list[bytes]:
            return [read_file(one) for one in table.sources(chance.permutation(rows))]

        def load(table: PictureTable) -> list[object]:
            return list(PictureBatches(table, rows, Preprocessing(SIDE), batch_size=BATCH, shuffle=True))

        def emptied() -> None:
            forget(folder)
            forget(shards)

        print(f"{folder.name}: {len(rows)} pictures; as files, then in tars")
        of_bytes, whole = (tuple(partial(run, table) for table in tables) for run in (read, load))
        compare("bytes, cached", of_bytes, len(rows), rounds)
        compare("bytes, not cached", of_bytes, len(rows), rounds, time.perf_counter, emptied)
        compare("end to end", whole, len(rows), rounds)


def make_photographs(folder: Path, count: int, megapixels: float) -> Path:
    """Photographs of 4:3 in two classes: smooth shapes with fine grain, as cameras give."""
    width, height = round((megapixels * 1e6 * 4 / 3) ** 0.5), round((megapixels * 1e6 * 3 / 4) ** 0.5)
    for number in range(count):
        chance = np.random.default_rng(number)
        coarse = chance.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = chance.normal(0, 4, (height, width, 1)).astype(np.int16)
        pixels = np.clip(np.asarray(smooth, np.int16) + grain, 0, 255).astype(np.uint8)
        file = folder / "ab"[number % 2] / f"{number:03d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, quality=90)
    return folder


def measure(folder: Path, most: int, rounds: int) -> None:
    """All comparisons on one folder."""
    table = read_source("folder", root=str(folder))
    rows = np.linspace(0, len(table.rows) - 1, min(most, len(table.rows))).astype(np.int64)
    size = table.rows["bytes"].iloc[rows].mean() / 1000
    print(f"{folder.name}: {len(rows)} pictures of {size:,.0f} kB on average; ImageFolder with Pillow, then ours")
    for name, runs in pairs(table, rows, folder).items():
        compare(name, runs, len(rows), rounds)


def main() -> None:
    """Measure each folder, then the photographs made for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--made", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("seconds of processor on one core, one thread")
    for folder in options.folders:
        measure(folder.expanduser().absolute(), options.pictures, options.rounds)
        compare_shards(folder.expanduser().absolute(), options.pictures, options.rounds)
    with tempfile.TemporaryDirectory() as made:
        folder = make_photographs(Path(made) / "made", options.made, options.megapixels)
        measure(folder, options.made, options.rounds)


if __name__ == "__main__":
    main()
