"""What networks answered: stored once, aligned, pooled."""
