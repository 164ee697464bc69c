"""How long a detector's file of a million pictures takes to read, and how much memory:   python bench/detections.py

Records as MegaDetector writes them: a third of the pictures without a box, others with one to four.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.boxes.joining import with_boxes
from pipeline.data.table import PictureTable


def write(file: Path, pictures: int) -> None:
    """A made-up file."""
    chance = np.random.default_rng(0)
    with file.open("w") as out:
        out.write('{"info": {"format_version": "1.4"}, "detection_categories": {"1": "animal"}, "images": [')
        for number, boxes in enumerate(chance.choice([0, 0, 1, 1, 2, 4], pictures).tolist()):
            numbers = chance.random((boxes, 5)).round(4) / 2
            found = [
                {"category": "1", "conf": one[4] + 0.3, "bbox": one[:4], "classifications": [["0", 0.9], ["1", 0.1]]}
                for one in (numbers + 0.01).tolist()
            ]
            out.write("," * (number > 0) + json.dumps({"file": path(number), "detections": found}))
        out.write('], "classification_categories": {"0": "fox", "1": "elk"}}')


def path(number: int) -> str:
    """As camera traps name them."""
    return f"site_{number // 10_000:03}/camera_{number // 1000 % 10}/IMG_{number:07}.JPG"


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=1_000_000)
    pictures = parser.parse_args().pictures
    rows = pd.DataFrame({"path": pd.Series([path(number) for number in range(pictures)], dtype="str")})
    rows = rows.assign(label=pd.Categorical([None] * pictures), split=pd.Categorical([None] * pictures))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "detections.json"
        write(file, pictures)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        start, began = time.perf_counter(), time.process_time()
        made = with_boxes(PictureTable("traps", rows, Path("/traps")), str(file), 0.2)
        seconds, busy = time.perf_counter() - start, time.process_time() - began
        size = file.stat().st_size / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{pictures:,} pictures ({size:.0f} MB of JSON) -> {len(made.rows):,} rows: {seconds:.1f} s,", end=" ")
    print(f"{busy:.1f} s of it at work")
    print(f"memory: {most:.2f} GB at most, {before:.2f} GB of it before the file was read")


if __name__ == "__main__":
    main()
