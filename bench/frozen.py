"""A frozen backbone: what 25 epochs cost, against one pass of the backbone, the imports, and the plain loop.

    python bench/frozen.py --pictures ~/photos --weights mobilenet_v2.pth --repeats 3

In turns, each in a process of its own:
  imports     `import torch, torchvision, mlflow, lightning_fabric, pandas`
  pass        those, and one pass of the backbone over all pictures (bf16 where the hardware has it, channels-last)
  plain pass  those, and one pass as the plain loop pays it every epoch (PIL transforms, float32, contiguous)
  first run   `python -m pipeline.train regime=frozen trainer.epochs=25` with an empty cache
  second run  the same again, which finds the features
Prints medians in seconds and the ratios that matter.

    python bench/frozen.py --pictures ~/photos --weights mobilenet_v2.pth --repeats 5 --engines torch onnxruntime auto

In turns, each in a process of its own, one pass as `trainer.engine` has it, reading, converting and, with `auto`, the
trial included (`--few 600`: of so many pictures; `--precision`). Prints seconds and seconds of processors beyond the
imports, and how many times as fast as the first engine each is, turn by turn.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

EPOCHS = 25
IMPORTS = "import torch, torchvision, mlflow, lightning_fabric, pandas\n"
PASS = (
    IMPORTS
    + """
import sys
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.models.classifier import NetworkSpec, build_classifier
from pipeline.training.hardware import make_fabric
table = read_source("folder", root=sys.argv[1])
how = Preprocessing(224)
fabric = make_fabric()
network = build_classifier(NetworkSpec("torchvision/" + sys.argv[2], 2, how)).to(memory_format=torch.channels_last)
module = fabric.setup_module(network.eval())
with torch.inference_mode():
    import numpy
    for batch in PictureBatches(table, numpy.arange(len(table.rows)), how, batch_size=32, num_workers=2):
        module(batch.inputs.to(torch.device("cpu")))
"""
)
BY_ENGINE = (
    IMPORTS
    + """
import sys, logging, numpy
from pathlib import Path
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.models.classifier import NetworkSpec, build_classifier
from pipeline.models.weights import load_file
from pipeline.training.features import compute_features
from pipeline.training.hardware import make_fabric
logging.basicConfig(level=logging.INFO, format="%(message)s")
folder, weights, name, engine, precision, few = sys.argv[1:]
table, how = read_source("folder", root=folder), Preprocessing(224)
rows = numpy.arange(len(table.rows))
rows = rows[:: max(1, len(rows) // int(few))][: int(few)] if int(few) else rows
network = build_classifier(NetworkSpec("torchvision/" + name, 2, how)).to(memory_format=torch.channels_last)
load_file(network.backbone, Path(weights), "torchvision/" + name)
pictures = PictureBatches(table, rows, how, batch_size=32, num_workers=2)
compute_features(network, pictures, rows=rows, fabric=make_fabric("cpu", precision), engine=engine)
"""
)
PLAIN = (
    IMPORTS
    + """
import sys
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder
steps = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(),
                            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
network = models.get_model(sys.argv[2]).eval()
with torch.inference_mode():
    for inputs, _ in DataLoader(ImageFolder(sys.argv[1], steps), 32, num_workers=4):
        network(inputs)
"""
)


def seconds(command: list[str], folder: str, cache: str) -> tuple[float, float]:
    """Wall-clock time of a whole process, and that of processors, its helpers' included."""
    began, before = perf_counter(), processors()
    subprocess.run(command, cwd=folder, env={**os.environ, "PIPELINE_CACHE": cache}, capture_output=True, check=True)
    return perf_counter() - began, processors() - before


def processors() -> float:
    """Seconds of those that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_engine(commands: dict[str, list[str]], repeats: int) -> None:
    """Each in turn, after the imports, and the table."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
            for name, command in commands.items():
                took[name].append(seconds(command, folder, cache))
    imports = took.pop("imports")
    first = next(iter(took))
    for place, unit in enumerate(("s", "s of processors")):
        beyond = {
            name: [some[place] - bare[place] for some, bare in zip(values, imports, strict=True)]
            for name, values in took.items()
        }
        for name, values in beyond.items():
            ratios = [other / own for other, own in zip(beyond[first], values, strict=True)]
            print(
                f"{name:11s} {statistics.median(values):7.1f} {unit} [{min(values):.1f}, {max(values):.1f}], "
                f"{statistics.median(ratios):.2f} times as fast [{min(ratios):.2f}, {max(ratios):.2f}]  n = {repeats}"
            )


def main() -> None:
    """Run all of it in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--network", default="mobilenet_v2")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--engines", nargs="+", choices=["torch", "onnxruntime", "auto"])
    parser.add_argument("--few", type=int, default=0)
    parser.add_argument("--precision", default="fp32")
    asked = parser.parse_args()
    pictures, weights = str(asked.pictures.expanduser().resolve()), str(asked.weights.expanduser().resolve())
    if asked.engines:
        given, how = [pictures, weights, asked.network], [asked.precision, str(asked.few)]
        passes = {one: [sys.executable, "-c", BY_ENGINE, *given, one, *how] for one in asked.engines}
        by_engine({"imports": [sys.executable, "-c", IMPORTS], **passes}, asked.repeats)
        return
    train = [
        sys.executable, "-m", "pipeline.train", "data=folder", f"data.root={pictures}", "regime=frozen",
        f"model.name=torchvision/{asked.network}", f"model.weights_file={weights}", f"trainer.epochs={EPOCHS}",
    ]  # fmt: skip
    commands = {
        "imports": [sys.executable, "-c", IMPORTS],
        "pass": [sys.executable, "-c", PASS, pictures, asked.network],
        "plain pass": [sys.executable, "-c", PLAIN, pictures, asked.network],
        "first run": train,
        "second run": train,
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(asked.repeats):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
            for name, command in commands.items():
                times[name].append(seconds(command, folder, cache)[0])
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:11s} {middle[name]:7.1f} s [{min(values):.1f}, {max(values):.1f}]  n = {len(values)}")
    plain_epochs = middle["imports"] + EPOCHS * (middle["plain pass"] - middle["imports"])
    print(f"first run / (imports and one pass): {middle['first run'] / middle['pass']:.2f} (to be at most 2)")
    print(f"second run - imports: {middle['second run'] - middle['imports']:.1f} s (to be at most 6)")
    print(f"{EPOCHS} plain passes / first run: {plain_epochs / middle['first run']:.1f}")


if __name__ == "__main__":
    main()
