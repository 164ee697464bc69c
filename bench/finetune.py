"""Fine-tuning speed: one epoch of this pipeline against the plain loop of the studies, side by side.

    python bench/finetune.py --pictures ~/photos --network mobilenet_v2 --batches 20 --repeats 3

The plain loop: torchvision's ImageFolder with PIL transforms in four workers, float32, contiguous, SGD. This
pipeline twice: as it fine-tunes (batch-norm frozen), and with batch-norm free, as the others have it.
`--timm-train PATH` adds timm's own train.py with its best flags (it is not part of timm's package).
Each rival runs in a process of its own, in turns, so that a noisy machine hits all alike. Prints pictures a
second, each as it comes and then the median, lowest and highest, and the ratio to the plain loop. The start of a
process is not counted, the start of the workers is.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

BATCH = 32
ALIASES = {"mobilenet_v2": "mobilenetv2_100"}  # timm's names where they differ


def plain(pictures: Path, network: str, batches: int) -> float:
    """The loop of the studies, in this process: pictures a second."""
    from itertools import islice
    from time import perf_counter

    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader
    from torchvision import models, transforms
    from torchvision.datasets import ImageFolder

    steps = transforms.Compose([
        transforms.Resize((224, 224)), transforms.RandomHorizontalFlip(), transforms.RandomRotation(10),
        transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    data = ImageFolder(str(pictures), steps)
    model = models.get_model(network, num_classes=len(data.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    began = perf_counter()
    seen = 0
    for inputs, labels in islice(DataLoader(data, BATCH, shuffle=True, num_workers=4), batches):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        loss.item()
        seen += len(labels)
    return seen / (perf_counter() - began)


def elsewhere(pictures: Path, network: str, batches: int) -> float:
    """The plain loop in a process of its own."""
    command = [
        sys.executable, __file__, "--only", "plain", "--pictures", str(pictures), "--network", network,
        "--batches", str(batches),
    ]  # fmt: skip
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@cache
def untrained(network: str) -> dict[str, Any]:
    """Random weights whose batch-norms hold statistics that fit, so that frozen ones do not end in NaN."""
    import torch
    from torchvision import models

    from pipeline.models.regimes import batchnorms

    torch.manual_seed(0)
    model = models.get_model(network).train()
    for norm in batchnorms(model):
        norm.momentum = 1.0
    with torch.no_grad():
        model(torch.randn(BATCH, 3, 224, 224))
    return model.state_dict()


def pipeline(pictures: Path, network: str, batches: int, batchnorm: str) -> float:
    """This pipeline's own command: the first epoch's pictures a second, as it logs them."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(untrained(network), weights)
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.train", "data=folder", f"data.root={pictures}", "regime=finetune",
             f"model.name=torchvision/{network}", f"model.weights_file={weights}", f"regime.batchnorm={batchnorm}",
             "trainer.epochs=1", f"trainer.batch_size={BATCH}", f"trainer.limit_batches={batches}", "optimizer=sgd",
             "optimizer.lr=0.001"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = re.search(r"epoch +1 .* ([\d,.]+) pictures/s", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1].replace(",", ""))


def timm(pictures: Path, network: str, batches: int, script: Path) -> float:
    """timm's train.py, one epoch over as many pictures as the others see: its own average of pictures a second."""
    with tempfile.TemporaryDirectory() as folder:
        subset = Path(folder) / "train"
        files = sorted(path for path in pictures.rglob("*") if path.is_file())
        for file in files[:: max(1, len(files) // (batches * BATCH))][: batches * BATCH]:
            (subset / file.parent.name).mkdir(parents=True, exist_ok=True)
            (subset / file.parent.name / file.name).symlink_to(file)
        done = subprocess.run(
            [sys.executable, str(script), "--data-dir", folder, "--train-split", "train", "--val-split", "train",
             "--model", ALIASES.get(network, network), "--num-classes", str(len(list(subset.iterdir()))),
             "-b", str(BATCH), "--epochs", "1", "--device", "cpu", "--amp", "--amp-dtype", "bfloat16",
             "--channels-last", "--workers", "2", "--log-interval", "1", "--output", folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    rates = re.findall(r"Train: 0 .*?([\d.]+)/s\)", done.stderr + done.stdout)
    assert rates, done.stderr[-2000:]
    return float(rates[-1])


def main() -> None:
    """Run the rivals in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timm-train", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    pictures = asked.pictures.expanduser().resolve()
    if asked.only == "plain":
        print(json.dumps(plain(pictures, asked.network, asked.batches)))
        return
    rivals: dict[str, Callable[[], float]] = {
        "plain loop": lambda: elsewhere(pictures, asked.network, asked.batches),
        "this pipeline, batch-norm frozen": lambda: pipeline(pictures, asked.network, asked.batches, "frozen"),
        "this pipeline, batch-norm free": lambda: pipeline(pictures, asked.network, asked.batches, "free"),
    }
    if asked.timm_train:
        rivals["timm train.py"] = lambda: timm(pictures, asked.network, asked.batches, asked.timm_train)
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(asked.repeats):
        for name, rate in rivals.items():
            rates[name].append(rate())
            print(f"{name:32s} {rates[name][-1]:7.1f} pictures/s", flush=True)
    base = statistics.median(rates["plain loop"])
    print(f"{asked.network}, {asked.batches} batches of {BATCH} at 224 pixels, n = {asked.repeats}")
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"{name:32s} {middle:7.1f} pictures/s [{min(values):.1f}, {max(values):.1f}]  {middle / base:.2f} x")


if __name__ == "__main__":
    main()
