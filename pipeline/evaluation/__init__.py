"""Predictions, and all that is read off them: metrics, calibration, statistics, plots."""
