"""One training from its config to a finished run, and a stored run read back."""
