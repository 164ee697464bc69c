"""Evaluating and combining 100,000 predictions over 10,000 classes: seconds, memory, megabytes.

    python bench/evaluation_at_scale.py [--pictures 100000] [--classes 10000] [--members 5] [--folder DIR]

Aims: evaluation under 60 s and 3 GB, an artifact under 100 MB, an ensemble of five under 120 s. The
predictions are make-believe (normal logits, the true class and its look-alikes raised), each stage runs in a
process of its own, so that its peak memory is its own.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.ensembles.report import evaluate
from pipeline.evaluation import calibration, conformal, confusion, metrics, statistics, taxonomy
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.parquet import read_predictions, write_predictions
from pipeline.reporting import plots

LOOK_ALIKES = 20
GROUPS = {"kingdom": 3, "phylum": 13, "class": 51, "order": 273, "family": 1_103, "genus": 4_884}


def make(path: Path, *, pictures: int, classes: int, seed: int, split: int) -> None:
    """One member's predictions for a split, written to `path`; labels depend on the split only."""
    import torch

    labels = torch.from_numpy(np.random.default_rng(split).integers(0, classes, pictures))
    noise = torch.Generator().manual_seed(1_000 * split + seed)
    builder = PredictionsBuilder([f"Genus species-{code:05d}" for code in range(classes)])
    for rows in np.array_split(np.arange(pictures), max(1, pictures // 1_000)):
        truth = labels[rows]
        logits = 2.0 * torch.randn(len(rows), classes, generator=noise)
        alike = (truth[:, None] // LOOK_ALIKES * LOOK_ALIKES + torch.arange(LOOK_ALIKES)) % classes
        logits.scatter_add_(1, alike, torch.full(alike.shape, 5.0))
        logits[torch.arange(len(rows)), truth] += 4.0
        builder.add([f"split{split}/{row:06d}.jpg" for row in rows], truth, logits)
    write_predictions(builder.finish(), path)


def score(val_path: Path, test_path: Path) -> dict[str, object]:
    """All that a run's evaluation reads off its predictions."""
    val, test = read_predictions(val_path), read_predictions(test_path)
    figures: dict[str, object] = dict(metrics.summary(test))
    metrics.class_report(test).to_csv(test_path.with_suffix(".report.csv"))
    confusion.table(test).to_csv(test_path.with_suffix(".confusion.csv"))
    kin = lineage(test.classes)
    plots.confusion(test, taxonomy=kin).savefig(test_path.with_suffix(".confusion.png"))
    taxonomy.rank_accuracy(test, kin), taxonomy.error_summary(test, kin)
    temperature = calibration.fit_temperature(val)
    figures["temperature"] = temperature
    figures["ece_after"] = calibration.expected_calibration_error(test.at_temperature(temperature))
    rule = conformal.calibrate(val, temperature=temperature)
    figures |= {f"sets_{name}": value for name, value in conformal.set_summary(rule.sets(test), test).items()}
    figures |= {f"{name}_interval": value for name, value in statistics.intervals(test).items()}
    return figures


def lineage(classes: list[str]) -> pd.DataFrame:
    """A taxonomy of the shape of iNaturalist's, look-alikes side by side."""
    codes = np.arange(len(classes))
    ranks = {rank: [f"{rank} {code * count // len(codes)}" for code in codes] for rank, count in GROUPS.items()}
    return pd.DataFrame(ranks, index=classes)


def combine(folder: Path, members: int) -> dict[str, object]:
    """Every strategy, learnt on val and scored on test, with intervals and tests."""
    runs = [
        {f"run {seed}": read_predictions(folder / f"{split}{seed}.parquet") for seed in range(members)}
        for split in ("val", "test")
    ]
    print(evaluate(*runs).table.round(4).to_string(index=False))
    return {}


def stage(name: str, options: argparse.Namespace) -> None:
    """Run one stage here, and say what it cost."""
    folder, start = options.folder, time.perf_counter()
    if name == "make":
        for seed in range(options.members):
            for number, split in enumerate(("val", "test")):
                path = folder / f"{split}{seed}.parquet"
                make(path, pictures=options.pictures, classes=options.classes, seed=seed, split=number)
    figures = {}
    if name == "score":
        figures = score(folder / "val0.parquet", folder / "test0.parquet")
    if name == "combine":
        figures = combine(folder, options.members)
    for key, value in figures.items():
        print(f"  {key:28} {value if isinstance(value, statistics.Interval) else f'{value:.4f}'}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds, own = time.perf_counter() - start, time.process_time()
    print(f"{name}: {seconds:.1f} s ({own:.1f} s of processor), peak {peak:.2f} GiB", flush=True)


def main() -> None:
    """Run the stages one after the other, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/evaluation_at_scale"))
    parser.add_argument("--stage", choices=["make", "score", "combine"])
    options = parser.parse_args()
    if options.stage:
        return stage(options.stage, options)
    for name in ("make", "score", "combine"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--stage", name], check=True)
    sizes = [path.stat().st_size / 1e6 for path in sorted(options.folder.glob("test*.parquet"))]
    print(f"artifact: {max(sizes):.1f} MB a split of {options.pictures:,} pictures")
    return None


if __name__ == "__main__":
    main()
