"""Names of classes found in published lists of taxa."""
