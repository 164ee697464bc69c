"""MLflow: the store, runs and sweeps, the registry."""
