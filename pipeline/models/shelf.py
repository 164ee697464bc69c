"""The shelf: the networks that `model=` chooses from, and what the head of each file in `conf/model/` says of one."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline.config.keys import CONF

# As they stand in a file's head, in this order, after a line that says what the network is.
SAID = ("licence", "parameters", "cost", "own size", "source", "seen ImageNet", "seen iNaturalist")


@dataclass(frozen=True)
class OnShelf:
    """A network by the name that chooses it; `said` are the facts of its file's head by their names in `SAID`."""

    answer: str
    name: str
    weights: str
    what: str
    said: dict[str, str]

    def figure(self, fact: str) -> float | None:
        """The number that a fact begins with: millions of parameters, thousand millions of operations, pixels."""
        return float(self.said[fact].split()[0]) if fact in self.said else None


def shelf() -> list[OnShelf]:
    """All networks that have a name of their own, by that name."""
    usual = yaml.safe_load((CONF / "model" / "base.yaml").read_text(encoding="utf-8"))
    files = sorted(file for file in (CONF / "model").glob("*.yaml") if file.stem != "base")
    return [_read(file, usual["weights"]) for file in files]


def on_shelf(name: str, weights: str) -> OnShelf | None:
    """The network of the shelf that these published weights are of; None of others."""
    return next((one for one in shelf() if (one.name, one.weights) == (name, weights)), None)


def _read(file: Path, usual_weights: str) -> OnShelf:
    text = file.read_text(encoding="utf-8")
    head = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    said = {key: value for key, _, value in (line.partition(": ") for line in head) if key in SAID}
    plain = yaml.safe_load(text)
    what = "" if not head or re.match(f"({'|'.join(SAID)}): ", head[0]) else head[0]
    return OnShelf(file.stem, plain["name"], plain.get("weights", usual_weights), what, said)
