"""Boxes around animals: from what files and columns they come, whose they are, and what is cut out of a picture."""
