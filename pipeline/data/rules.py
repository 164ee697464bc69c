"""Rules of what classes show: a class that breaks one is out of the question, or loses so much of its logit."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.attributes import called
from pipeline.data.files import cell_text, column, existing, read_table

PLAIN = {"always": 1, "never": -1}
BOUNDS = {"at least": 1, "at most": -1}  # a share
OVERRULES = 50.0  # of a logit: what is left is out of the question
_NONE = -1.0  # for a share: a network's weights hold no NaN
_KEY = "head.rules"
_TITLES = ("class", "attribute", "rule", "weight")
_FORMS = [*PLAIN, *(f"{word} 0.5" for word in BOUNDS)]


class Rule(NamedTuple):
    """What a class shows of an attribute (each by its place).

    `sign` 1: always, or at least a `share` of it (below 0: none is named); -1: never, or at most so much. `weight`: how
    much of the class's logit breaking it takes.
    """

    label: int
    attribute: int
    sign: int
    share: float = _NONE
    weight: float = OVERRULES

    @property
    def kind(self) -> str:
        """As a file says it."""
        plain, bound = (next(word for word, sign in some.items() if sign == self.sign) for some in (PLAIN, BOUNDS))
        return plain if self.share < 0 else f"{bound} {self.share:.3g}"

    def told(self, attribute: str) -> str:
        """In words; what it takes, where it does not overrule."""
        return f"{self.kind} {attribute}" + (f" (-{self.weight:.3g})" if self.weight < OVERRULES else "")


def read_rules(file: str, classes: Sequence[str], attributes: Sequence[str]) -> list[Rule]:
    """Those of a CSV `class,attribute,rule`: always, never, at least 0.3, at most 0.3.

    What has a number in a further column `weight` takes so much of a logit; the others overrule. BadInput for what no
    class, attribute or rule is called, and for rules that contradict each other.
    """
    path = existing(file, _KEY, "table with the columns class, attribute, rule")
    table = read_table(path, _KEY)
    given = [column(table, name, _KEY, path).map(cell_text) for name in _TITLES[:-1]]
    for title in table:
        if title not in _TITLES:  # passed over, weights by another name would overrule
            raise BadInput(f"{_KEY}={file}: there is no column {title!r} of rules{did_you_mean(str(title), _TITLES)}")
    weights = table["weight"].map(cell_text) if "weight" in table else [""] * len(table)
    places, codes = called(attributes), {name.casefold(): code for code, name in enumerate(classes)}
    found: dict[tuple[int, int, int], Rule] = {}
    for name, attribute, rule, weight in zip(*given, weights, strict=True):
        for what, said, known, all_of in (
            ("class", name, codes, classes),
            ("attribute", attribute, places, attributes),
        ):
            if said.casefold() not in known:
                raise BadInput(f"{_KEY}={file}: there is no {what} {said!r}{did_you_mean(said, all_of)}")
        made = Rule(
            codes[name.casefold()], places[attribute.casefold()], *_sign_and_share(rule, file), _weight(weight, file)
        )
        other = found.get((made.label, made.attribute, -made.sign))
        named = other and min(made.share, other.share) >= 0
        if other and not (named and made.sign * made.share < made.sign * other.share):
            both = " and ".join(one.kind for one in (made, other))
            both = "both always and never" if both in ("always and never", "never and always") else f"both {both}"
            raise BadInput(f"{_KEY}={file}: {name} shows {attribute} {both}: keep one of the two rules")
        if (first := found.setdefault(made[:3], made)) != made:
            both = " and ".join(one.told(attribute) for one in (first, made))
            raise BadInput(f"{_KEY}={file}: {name} has two rules, {both}: keep one of them")
    if not found:
        raise BadInput(f"{_KEY}={file}: it has no rule below its titles")
    return list(found.values())


def _sign_and_share(rule: str, file: str) -> tuple[int, float]:
    if (plain := rule.casefold()) in PLAIN:
        return PLAIN[plain], _NONE
    word, _, number = " ".join(plain.split()).rpartition(" ")
    if word not in BOUNDS:
        raise BadInput(f"{_KEY}={file}: there is no rule {rule!r}{did_you_mean(rule, _FORMS)}")
    return BOUNDS[word], _number(number, f"{_KEY}={file}: {rule!r}: a share is from 0 to 1", 1.0)


def _weight(given: str, file: str) -> float:
    if not given:
        return OVERRULES
    return _number(given, f"{_KEY}={file}: weight {given!r}: from 0 to {OVERRULES:g}, or blank to overrule", OVERRULES)


def _number(text: str, said: str, most: float) -> float:
    try:
        found = float(text)
    except ValueError:
        raise BadInput(said) from None
    if not 0 <= found <= most:
        raise BadInput(said)
    return found
