"""A learner so small that a hundred epochs take a second: points in a plane, told apart by a line."""

import math
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from pipeline.data.batch import Batch, Inputs
from pipeline.training.loop import Learner, Progress, fit
from pipeline.training.optimization import Schedule


class Points:
    """`pictures` points in batches, in the same order in every epoch; notes the epochs it was asked for."""

    def __init__(self, pictures=32, batch_size=8, classes=3, seed=0):
        chance = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(pictures, 4, generator=chance)
        self.labels = self.inputs[:, :classes].argmax(1)
        self.n_pictures, self._size = pictures, batch_size
        self.epochs, self.start = [], 0

    def __len__(self):
        return math.ceil(self.n_pictures / self._size)

    def set_epoch(self, epoch, start=0):
        self.epochs.append(epoch)
        self.start = start

    def __iter__(self):
        for start in range(self.start, self.n_pictures, self._size):
            here = slice(start, start + self._size)
            rows = torch.arange(self.n_pictures)[here]
            yield Batch(Inputs(features=self.inputs[here]), self.labels[here], rows, end=start + len(rows))


class Line(nn.Linear):
    """Reads its inputs by their name, as a classifier does."""

    def forward(self, inputs):
        return super().forward(inputs.features)


class Trial:
    """One training of a linear network on points: `records()` gives what the loop yields."""

    def __init__(self, *, lr=0.1, classes=3, train=None, val=None, network=None, epochs=3, fabric=None, **options):
        torch.manual_seed(0)
        self.fabric = fabric or Fabric(accelerator="cpu", devices=1)
        self.network = network or Line(4, classes)
        self.train = train or Points(classes=classes)
        self.val = val or Points(classes=classes, seed=1)
        optimizer = torch.optim.SGD(self.network.parameters(), lr=lr)
        self.module, self.optimizer = self.fabric.setup(self.network, optimizer)
        self.schedule = Schedule(self.optimizer, "constant", epochs=epochs, steps_per_epoch=len(self.train))
        self.progress = options.pop("progress", None) or Progress()
        self.learner = Learner(
            self.module, self.optimizer, self.schedule, options.pop("loss", nn.CrossEntropyLoss()), self.train,
            self.val, epochs, options.pop("train_mode", self.module.train),
        )  # fmt: skip
        unset = {"accumulate": 1, "clip_norm": None, "patience": None, "limit_batches": None}
        assert options.keys() <= unset.keys()
        self.trainer = SimpleNamespace(**unset | options)

    def __iter__(self):
        return fit(self.fabric, self.learner, self.trainer, self.progress)

    def weights(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.network.parameters()])


@pytest.fixture
def trial():
    return Trial


@pytest.fixture
def points():
    return Points


@pytest.fixture
def line():
    return Line
