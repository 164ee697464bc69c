"""What `pipeline/training/allocator.py` and the choice of precision save on this processor, in turns.

    python bench/allocator.py --network torchvision/mobilenet_v2 --rounds 3

A step of fine-tuning (batch-norm frozen) and an answer, on 32 pictures of 224 pixels in memory, channels-last, in
float32 and in bf16, with memory given back to the system as glibc does it and with memory kept. Each in a process of
its own. Prints the median, lowest and highest pictures a second.
"""

import argparse
import statistics
import subprocess
import sys

STEPS = 5
WORK = """
import sys
from statistics import median
from time import perf_counter
import torch
from torch.nn.functional import cross_entropy
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import NetworkSpec, build_classifier
from pipeline.models.regimes import Phase, enter, parameter_groups, set_training
from pipeline.training import hardware
name, precision, kept, steps = sys.argv[1], sys.argv[2], sys.argv[3] == "kept", int(sys.argv[4])
if not kept:
    hardware.keep_freed_memory = lambda: None
fabric = hardware.make_fabric("cpu", precision)
network = build_classifier(NetworkSpec(name, 100, Preprocessing(224))).to(memory_format=torch.channels_last)
phase = Phase(batchnorm="frozen")
enter(network, phase)
set_training(network, phase)
weights = parameter_groups(network, phase, lr=1e-4, weight_decay=0.0)
module, optimizer = fabric.setup(network, torch.optim.SGD(weights, momentum=0.9))
pictures = torch.randint(255, (32, 3, 224, 224), dtype=torch.uint8).to(memory_format=torch.channels_last)
labels = torch.randint(100, (32,))
def step():
    fabric.backward(cross_entropy(module(pictures), labels))
    optimizer.step()
    optimizer.zero_grad()
def answer():
    with torch.inference_mode():
        module(pictures)
for work in (step, answer):
    taken = []
    for _ in range(steps + 1):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    print(32 / median(taken[1:]))
"""


def main() -> None:
    """Time each in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", default="torchvision/mobilenet_v2")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ways = [(precision, memory) for precision in ("bf16", "fp32") for memory in ("given back", "kept")]
    rates: dict[tuple[str, str], list[list[float]]] = {way: [] for way in ways}
    for _ in range(asked.rounds):
        for way in ways:
            command = [sys.executable, "-c", WORK, asked.network, *way, str(STEPS)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rates[way].append([float(line) for line in done.stdout.split()])
    print(f"{asked.network}, n = {asked.rounds}, pictures a second")
    for (precision, memory), rounds in rates.items():
        figures = [
            f"{what} {statistics.median(rate):6.1f} [{min(rate):.1f}, {max(rate):.1f}]"
            for what, rate in zip(("step", "answer"), zip(*rounds, strict=True), strict=True)
        ]
        print(f"{precision} memory {memory:10s}  {'   '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
