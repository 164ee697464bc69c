"""Trainings and other commands as processes of their own, which outlive the page that they were asked for on."""
