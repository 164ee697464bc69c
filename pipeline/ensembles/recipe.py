"""What a run of an ensemble keeps of it: its rule and the runs it is made of. Their weights stay with them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.common.errors import BadInput
from pipeline.ensembles.rules import Rule, SharedStack, SoftVote, from_dict, to_dict

FORMAT_VERSION = 1
FILE = "recipe.json"


@dataclass(frozen=True)
class Recipe:
    """A rule and, in the order in which it takes them, the ids of its members' runs."""

    rule: Rule
    run_ids: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write `recipe.json`."""
        plain = {
            "format_version": FORMAT_VERSION,
            "rule": to_dict(self.rule),
            "members": list(self.run_ids),
        }
        (folder / FILE).write_text(json.dumps(plain, indent=1), encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "Recipe":
        """What `write` wrote; BadInput where it is missing, damaged or of another version."""
        file = folder / FILE
        try:
            plain = json.loads(file.read_text(encoding="utf-8"))
            version = plain.get("format_version")
            if version == FORMAT_VERSION:
                return Recipe(from_dict(plain["rule"]), tuple(plain["members"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(f"{file} is missing or describes no ensemble ({error})") from None
        raise BadInput(f"{file} has format_version {version}; this version reads {FORMAT_VERSION}")


def without_idle(rule: Rule, members: Sequence[str]) -> tuple[Rule, list[str]]:
    """The rule and its members without those that have no weight in it."""
    if not isinstance(rule, SoftVote | SharedStack) or rule.weights is None:
        return rule, list(members)
    pairs = zip(rule.weights, members, strict=True)
    kept = [(weight, name) for weight, name in pairs if weight != 0.0]
    if not kept:
        return rule, list(members)
    return replace(rule, weights=tuple(weight for weight, _ in kept)), [name for _, name in kept]
