"""A process beside the first that reckons in float64, as the first does in tests of what they come to together."""

import runpy

import torch

torch.set_default_dtype(torch.float64)
runpy.run_module("pipeline.experiment.follower", run_name="__main__")
