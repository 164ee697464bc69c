"""A careful look at every picture: facts, copies, leaks."""
