"""Rules that overrule answers: what a class always shows, and what it never does."""

from collections.abc import Sequence

import numpy as np

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.attributes import called
from pipeline.data.files import cell_text, column, existing, read_table

RULES = {"always": 1, "never": -1}
_KEY = "head.rules"


def read_rules(file: str, classes: Sequence[str], attributes: Sequence[str]) -> np.ndarray:
    """(classes, attributes) int8 of a CSV `class,attribute,rule`: 1 always, -1 never, 0 where it says nothing.

    BadInput for what no class, attribute or rule is called, and for rules that contradict each other.
    """
    path = existing(file, _KEY, "table with the columns class, attribute, rule")
    table = read_table(path, _KEY)
    given = [column(table, name, _KEY, path).map(cell_text) for name in ("class", "attribute", "rule")]
    places, codes = called(attributes), {name.casefold(): code for code, name in enumerate(classes)}
    found = np.zeros((len(classes), len(attributes)), np.int8)
    for name, attribute, rule in zip(*given, strict=True):
        for what, said, known, all_of in (
            ("class", name, codes, classes), ("attribute", attribute, places, attributes), ("rule", rule, RULES, RULES),
        ):  # fmt: skip
            if said.casefold() not in known:
                raise BadInput(f"{_KEY}={file}: there is no {what} {said!r}{did_you_mean(said, all_of)}")
        place, sign = (codes[name.casefold()], places[attribute.casefold()]), RULES[rule.casefold()]
        if found[place] == -sign:
            raise BadInput(f"{_KEY}={file}: {name} shows {attribute} both always and never: keep one of the two rules")
        found[place] = sign
    if not found.any():
        raise BadInput(f"{_KEY}={file}: it has no rule below its titles")
    return found
