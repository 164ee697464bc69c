"""The loop, losses, cached features and checkpoints."""
