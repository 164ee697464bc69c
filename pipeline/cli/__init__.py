"""The frame of a command: Hydra composes, the schema checks, errors become one line and an exit code."""
