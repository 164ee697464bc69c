"""A process beside the first that reckons in float64, as the first does in tests of what they come to together."""

import runpy

import torch

from pipeline.training.loop import layout_of


def layouts(config, prepared):
    """How each process' weights lie in memory, for the first."""
    return prepared.ranks.gathered(str(layout_of(prepared.network)))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    runpy.run_module("pipeline.experiment.follower", run_name="__main__")
