"""What columns beside pictures cost: reading a million rows, and a step of training: python bench/metadata.py [SIDE]

In this process's own time, so that other work counts little.
"""

import sys
from collections.abc import Callable
from statistics import median
from time import process_time

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from pipeline.data.batch import Inputs
from pipeline.data.beside.registry import fitted, known
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import NetworkSpec, build_classifier

side, steps = int(sys.argv[1]) if sys.argv[1:] else 96, 10
chance = np.random.default_rng(0)
ROWS = 1_000_000
rows = pd.DataFrame({
    "region": chance.choice(["north", "south", "east", "west", "isles"], ROWS), "depth": chance.normal(size=ROWS),
    "latitude": chance.uniform(-90, 90, ROWS), "longitude": chance.uniform(-180, 180, ROWS),
})  # fmt: skip
began = process_time()
beside = fitted({"metadata": list(rows)}, rows, np.arange(10_000))
facts = known(beside, rows)
print(f"{ROWS:,} rows of four columns read in {process_time() - began:.1f} s of processor time")

pixels, labels = torch.randint(0, 256, (32, 3, side, side), dtype=torch.uint8), torch.randint(0, 100, (32,))
network = build_classifier(NetworkSpec("torchvision/mobilenet_v2", 100, Preprocessing(side), beside=beside)).train()
optimizer, join = torch.optim.AdamW(network.parameters()), network.join
assert join
join.dropout = 0.33
features = torch.randn(32, network.n_features, requires_grad=True)
join.measure(features.detach())


def step() -> None:
    """One of training."""
    inputs = Inputs(pixels).also(facts.take(chance.integers(0, ROWS, 32)))
    cross_entropy(network(inputs), labels).backward()
    optimizer.step()
    optimizer.zero_grad()


def joining() -> None:
    """What of it columns bring."""
    join(features, facts.take(chance.integers(0, ROWS, 32))).sum().backward()


def seconds(work: Callable[[], None], times: int) -> float:
    """The median of several."""
    spent = []
    for _ in range(times + 3):
        began = process_time()
        work()
        spent.append(process_time() - began)
    return median(spent[3:])


whole, part = seconds(step, steps), seconds(joining, 100)
print(
    f"a step of 32 pictures of {side} pixels: {1000 * whole:.0f} ms, of which {1000 * part:.1f} ms "
    f"({100 * part / whole:.2f} %) are the columns'"
)
