"""Several networks as one: voting, stacking, choosing members."""
