"""What every room may use: errors, names, paths, whole files, locks."""
