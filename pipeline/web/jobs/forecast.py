"""What a forecast said, taken apart: its line is for people who read English."""

import re

_LINE = re.compile(
    r"forecast: (?P<time>.+?), (?P<memory>.+?) of memory"
    r"(?:, (?P<gpu>.+?) of the GPU's)?, (?P<disk>.+?) on disk \((?P<meanwhile>.+?) more while it trains\)"
)


def foretold(log: str) -> dict[str, str]:
    """Time, memory and room on disk by name, each with its unit; nothing where no forecast was made."""
    said = _LINE.search(log)
    return {name: value for name, value in said.groupdict().items() if value} if said else {}
