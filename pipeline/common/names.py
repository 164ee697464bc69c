"""Names that MLflow takes, and that processes share."""

import re

PARENT_VARIABLE = "PIPELINE_SWEEP_RUN_ID"  # how a sweep's jobs, in whatever process, find their parent run
SERVER_VARIABLE = "PIPELINE_SERVER"  # the server that the store in MLFLOW_TRACKING_URI stands in for
SWEPT_VARIABLE = "PIPELINE_SWEPT_KEYS"  # and which keys set them apart, for their names
FORECASTS_VARIABLE = "PIPELINE_FORECASTS"  # where jobs that are only foretold leave what they say, in their stead
BUDGET_VARIABLE = "PIPELINE_BUDGET"  # until when a sweep's jobs may last


def safe_name(name: str) -> str:
    """A text that can name an experiment and a registered model: letters of any script stay, `/`, `:` and the like
    become `-`. Never empty.
    """
    kept = "".join(letter if letter.isalnum() or letter in "_-. " else "-" for letter in name)
    return kept.strip(" .-")[:250].rstrip(" .-") or "pictures"  # MLflow and databases take no longer one


def checked_alias(alias: str) -> str:
    """The alias of a registered model; ValueError, with the remedy, for one that MLflow refuses."""
    if not re.fullmatch(r"[\w-]{1,255}", alias):
        raise ValueError("an alias is one word of letters, digits, _ and -, such as champion")
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise ValueError("MLflow keeps latest and v1, v2, ... for itself; choose another word, such as champion")
    return alias
