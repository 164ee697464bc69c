"""Figures of runs. Each function gives a matplotlib `Figure` (no pyplot state): `figure.savefig(path)`."""

from pipeline.evaluation.plots.learning import curves
from pipeline.evaluation.plots.matrix import confusion

__all__ = ["confusion", "curves"]
