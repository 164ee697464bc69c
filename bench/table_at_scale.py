"""iNaturalist 2021's 2,686,843 training records to a table, checked and split: seconds and memory.

    python bench/table_at_scale.py --categories categories.csv [--pictures 2686843] [--folder DIR]

Aims: under 60 s and 2 GB; the memory of the loader's workers does not grow with the table. The records are
made up in the published form (train.json, and train/00000_Kingdom_..._epithet/*.jpg) for the real categories;
each file is a hard link to one of some small JPEGs, so that all can be looked for, weighed and read. The
folder (default: a temporary one, 2.7 million names and a 1 GB JSON) goes when all is done. Each stage runs in a
process of its own, so that its peak memory is its own.

Measured on two cores of a busy machine (load 11), all 2,686,843: the JSON form 57.8 s (27.8 s of processor),
the folders 46.6 s (29.5 s), a Parquet table 21.3 s (14.2 s), each at most 1.2 GB; workers 19 MB each of their
own, with 10,000 rows as with all.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

PUBLISHED = 2_686_843
LINKS = 60_000  # ext4 takes 65,000 names a file
RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "specific_epithet", "name", "common_name"]


def make(folder: Path, categories: Path, pictures: int) -> None:
    """The published form, files and all."""
    from PIL import Image

    table = pd.read_csv(categories, keep_default_na=False)
    chance = np.random.default_rng(0)
    shares = chance.integers(152, 301, len(table))  # pictures a species, as published
    counts = np.diff(np.round(np.cumsum(shares) * pictures / shares.sum()).astype(int), prepend=0)
    source = None
    place = 0
    with (folder / "train.json").open("w") as file:
        file.write('{"info": {"year": 2021}, "images": [')
        for name, count in zip(table["image_dir_name"], counts, strict=True):
            (folder / "train" / name).mkdir(parents=True)
            for _ in range(count):
                if place % LINKS == 0:
                    source = folder / f"{place}.jpg"
                    noise = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                    Image.fromarray(noise).resize((96, 64)).save(source)
                path = f"train/{name}/{uuid.UUID(bytes=chance.bytes(16))}.jpg"
                os.link(source, folder / path)
                record = {
                    "id": place, "width": 500, "height": 375, "file_name": path, "license": 1,
                    "rights_holder": "somebody", "date": "2016-02-06 16:28:00+00:00", "latitude": 28.38812,
                    "longitude": -16.44913, "location_uncertainty": 10,
                }  # fmt: skip
                file.write((", " if place else "") + json.dumps(record))
                place += 1
        file.write('], "categories": ')
        json.dump(table[["id", *RANKS, "image_dir_name"]].to_dict("records"), file)
        file.write(', "annotations": [')
        labels = np.repeat(table["id"].to_numpy(), counts).tolist()
        for number, label in enumerate(labels):
            one = {"id": number, "image_id": number, "category_id": label}
            file.write((", " if number else "") + json.dumps(one))
        file.write('], "licenses": []}')


def build(folder: Path, form: str) -> None:
    """Build, check and split; a line of figures."""
    from pipeline.data.digest import class_counts, data_digest
    from pipeline.data.sources import read_source
    from pipeline.data.splits import split_table

    def told(what: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        busy = time.process_time() - start_busy
        print(
            f"{form:12} {what:32} {time.perf_counter() - start:6.1f} s ({busy:5.1f} s of processor)  "
            f"{peak * 1.0737:5.2f} GB at most",
            flush=True,
        )

    start, start_busy = time.perf_counter(), time.process_time()
    if form == "parquet":
        table = read_source("table", file=str(folder / "table.parquet"))
    else:
        train = "train.json" if form == "json" else "train"
        table = read_source("inat2021", root=str(folder), train=train, val=None)
    told(f"{len(table.rows):,} rows read and checked")
    table = split_table(table, val=0.1, test=0.1)
    told("split")
    digest, counts = data_digest(table), class_counts(table)
    told(f"counted, digest {digest[:6]}")
    assert (counts > 0).all(axis=None)
    if form == "json":
        table.rows.drop(columns="bytes").to_parquet(folder / "table.parquet")
        start, start_busy = time.perf_counter(), time.process_time()
        split_table(table, val=0.1, test=0.1, folds=5, fold=2)
        told("split again, in folds")


def workers(folder: Path, rows: int) -> None:
    """Memory that each loader process has for itself, after some batches of a table of so many rows."""
    import psutil

    from pipeline.data.reading.loading import PictureBatches
    from pipeline.data.reading.preprocessing import Preprocessing
    from pipeline.data.sources import read_source

    table = read_source("table", file=str(folder / "table.parquet"))
    table = table.take(np.linspace(0, len(table.rows) - 1, rows).astype(int))
    places = np.arange(len(table.rows))
    loader = PictureBatches(table, places, Preprocessing(32), batch_size=64, shuffle=True, num_workers=2)
    start = time.perf_counter()
    for number, _ in enumerate(loader):
        if number == 0:
            first = time.perf_counter() - start
        if number == 200:
            break
    own = [child.memory_full_info().uss / 2**20 for child in psutil.Process().children(recursive=True)]
    print(
        f"{rows:9,} rows: first batch after {first:.1f} s; own memory of the workers "
        f"{', '.join(f'{one:.0f}' for one in own)} MB",
        flush=True,
    )


def stage(*arguments: str) -> None:
    """One stage in a process of its own."""
    subprocess.run([sys.executable, __file__, *arguments], check=True)


def main() -> None:
    """All stages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--categories", type=Path)
    parser.add_argument("--pictures", type=int, default=PUBLISHED)
    parser.add_argument("--folder", type=Path, default=None, help="where to put, or find, what is made")
    parser.add_argument("--stage", default=None)
    parser.add_argument("--rows", type=int, default=0)
    asked = parser.parse_args()
    if asked.stage == "make":
        make(asked.folder, asked.categories, asked.pictures)
    elif asked.stage == "workers":
        workers(asked.folder, asked.rows)
    elif asked.stage:
        build(asked.folder, asked.stage)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = ["--folder", str(asked.folder or temporary)]
            if not asked.folder or not (asked.folder / "train.json").is_file():
                given = ["--categories", str(asked.categories), "--pictures", str(asked.pictures)]
                stage("--stage", "make", *folder, *given)
            for form in ("json", "folders", "parquet"):
                stage("--stage", form, *folder)
            for rows in (10_000, asked.pictures):
                stage("--stage", "workers", *folder, "--rows", str(rows))


if __name__ == "__main__":
    main()
