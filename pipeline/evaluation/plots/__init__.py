"""Figures of runs. Each function gives a matplotlib `Figure` (no pyplot state): `figure.savefig(path)`."""

from pipeline.evaluation.plots.comparison import cost_and_quality, curves_together
from pipeline.evaluation.plots.gain import gains
from pipeline.evaluation.plots.learning import curves
from pipeline.evaluation.plots.matrix import confusion
from pipeline.evaluation.plots.probability import answered_accuracy, reliability_diagram

__all__ = [
    "answered_accuracy",
    "confusion",
    "cost_and_quality",
    "curves",
    "curves_together",
    "gains",
    "reliability_diagram",
]
