"""Figures of runs. Each function gives a matplotlib `Figure` (no pyplot state): `figure.savefig(path)`."""

from pipeline.reporting.plots.comparison import cost_and_quality, curves_together, error_by_size
from pipeline.reporting.plots.gain import gains
from pipeline.reporting.plots.learning import curves
from pipeline.reporting.plots.matrix import confusion
from pipeline.reporting.plots.probability import answered_accuracy, reliability_diagram

__all__ = [
    "answered_accuracy",
    "confusion",
    "cost_and_quality",
    "curves",
    "curves_together",
    "error_by_size",
    "gains",
    "reliability_diagram",
]
