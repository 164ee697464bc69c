"""Names that MLflow takes, and that processes share."""

PARENT_VARIABLE = "PIPELINE_SWEEP_RUN_ID"  # how a sweep's jobs, in whatever process, find their parent run
SWEPT_VARIABLE = "PIPELINE_SWEPT_KEYS"  # and which keys set them apart, for their names


def safe_name(name: str) -> str:
    """A text that can name an experiment and a registered model: letters of any script stay, `/`, `:` and the like
    become `-`. Never empty.
    """
    kept = "".join(letter if letter.isalnum() or letter in "_-. " else "-" for letter in name)
    return kept.strip(" .-") or "pictures"
