"""Arguments as people type them, made what Hydra's grammar can take."""

import re

from hydra.core.hydra_config import HydraConfig

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.config.keys import PATH_KEYS


def quote_address(argument: str) -> str:
    """`model=models:/birds@champion` as Hydra can take it: it would look for that among conf/model's networks.

    A value that is a mapping is no choice of a file for it; `schema.Address` takes the text out again.
    """
    key, equals, value = argument.partition("=")
    if key != "model" or not equals or value[:1] in ("", "{") or value == "null":
        return argument
    text = value.strip("'\"").replace("\\", "\\\\").replace("'", "\\'")
    return f"model={{address:'{text}'}}"


def open_mappings(argument: str) -> str:
    """`tracking.tags.site=reef` and `tracking.tags={site: reef}` as Hydra can take them: it would know no such key.

    Tags are free, and so are the options of scikit-learn's classifiers, and which of the joined networks have weights
    of the user's; all other keys are closed.
    """
    free = re.match(r"\+?(tracking\.tags|head\.options|model\.join_weights)(\.[^=]+)?=", argument)
    return f"++{argument.lstrip('+')}" if free else argument


def as_typed(override: str) -> str:
    """The inverse of `quote_path`: what its user typed, for tags and names that are read by people."""
    key, _, value = override.partition("=")
    quoted = re.fullmatch(r"'((?:[^'\\]|\\.)*)'", value)
    if key.lstrip("+") not in PATH_KEYS or not quoted:
        return override
    text = re.sub(r"((?:\\\\)*)(\\'|$)", lambda match: match[1][::2] + ("'" if match[2] else ""), quoted[1])
    plain = re.sub(r"((?:\\\\)*)\\\$\{", lambda match: match[1][::2] + "${", text)
    return f"{key}={plain}"


def typed_overrides() -> list[str]:
    """What the user of this command gave; nothing where no command is under way."""
    return [as_typed(one) for one in HydraConfig.get().overrides.task] if HydraConfig.initialized() else []


def _is_there(path: str) -> bool:
    try:
        return expanded(path, "").exists()
    except (BadInput, OSError, ValueError):
        return False


def quote_path(argument: str, *, multirun: bool = False) -> str:
    """`data.root=~/photos (1), a=b` as Hydra's grammar can take it; other arguments unchanged.

    In a sweep an unquoted comma still separates values, unless the whole text is a path that exists.
    """
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or value[:1] in ("'", '"') or value in ("", "null"):
        return argument
    if key == "answers.only" and value[:1] in ("[", "{") and not _is_there(value):  # names, not a file's
        return argument
    if multirun and "," in value and not _is_there(value):
        return argument
    return f"{key}={quoted(value)}"


def quoted(text: str) -> str:
    """A text of one line as Hydra's grammar, and OmegaConf's in it, take it for that very text."""
    plain = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)
    # A quote, and the backslashes right before one, are escaped.
    escaped = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), plain)
    return f"'{escaped}'"
