"""What a search may vary, in Hydra's own words (`optimizer.lr=tag(log,interval(1e-4,1e-1))`), and what to draw from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep

from pipeline.cli.quoting import quoted
from pipeline.common.errors import BadInput
from pipeline.config.keys import OF_GRADIENTS

Value = str | int | float
_DIGITS = 4  # of a number drawn from an interval: enough to tell settings apart, and to read


def with_space(arguments: Sequence[str]) -> list[str]:
    """Arguments of a search as Hydra can compose them: those with several values are gathered under `tune.space`."""
    parser = OverridesParser.create()
    several = [one for one in arguments if "=" in one and parser.parse_override(one).is_sweep_override()]
    if not several:
        return list(arguments)
    left = [one for one in arguments if one not in several]
    for one in left:
        if one.lstrip("+").startswith("tune.space="):
            raise BadInput(f"{one}: type a key that is searched by itself, or list them all under tune.space")
    return [f"tune.space=[{','.join(map(quoted, several))}]", *left]


@dataclass(frozen=True)
class Searched:
    """A key and what it may be: one of `choices` (as text), or a number from `low` to `high`, by `step` perhaps."""

    key: str
    typed: str  # the key with what stands before it: `++head.options.alpha`
    choices: tuple[str, ...] = ()
    low: Value = 0
    high: Value = 0
    step: Value | None = None
    log: bool = False

    def override(self, value: Value) -> str:
        """As it is typed for one training."""
        return f"{self.typed}={float(f'{value:.{_DIGITS}g}') if isinstance(value, float) else value}"

    def ends(self) -> tuple[Value, ...]:
        """All choices, or the least and the greatest number."""
        return self.choices or (self.low, self.high)

    def values(self) -> tuple[Value, ...]:
        """All that it may be. BadInput for an interval."""
        if self.choices:
            return self.choices
        if self.step is None:
            raise BadInput(
                f"{self.typed}: an interval has values without end; tune.sampler=grid takes choices and ranges"
            )
        low, high, step = (float(one) for one in (self.low, self.high, self.step))
        found = [low + number * step for number in range(round((high - low) / step) + 1)]
        return tuple(int(one) if isinstance(self.low, int) else one for one in found)


def read_space(lines: Sequence[str], loader: Any) -> list[Searched]:
    """The keys that a search varies; Hydra's `loader` knows the files that glob(*) means.

    BadInput where there is nothing to search, or a key is named twice.
    """
    found: dict[str, Searched] = {}
    for line, parsed in zip(lines, OverridesParser.create(loader).parse_overrides(list(lines)), strict=True):
        if not parsed.is_sweep_override():
            raise BadInput(f"{line}: that is one value and nothing to search; type it by itself, without tune.space")
        if parsed.key_or_group in found:
            raise BadInput(f"{line}: {parsed.key_or_group} is searched twice")
        if parsed.key_or_group.startswith(("tune.", "hydra", "resume", "estimate", "tracking.")):
            raise BadInput(f"{line}: {parsed.key_or_group} is no setting of a training that could be searched")
        found[parsed.key_or_group] = _searched(line, parsed)
    if not found:
        raise BadInput(
            "there is nothing to search: give a key several values, as 'optimizer.lr=tag(log,interval(1e-4,1e-1))', "
            "'model=choice(resnet18,mobilenetv2)' or 'trainer.epochs=range(5,30,5)'"
        )
    return list(found.values())


def _searched(line: str, parsed: Override) -> Searched:
    value, key, typed = parsed.value(), parsed.key_or_group, parsed.get_key_element()
    log = isinstance(value, Sweep) and "log" in value.tags
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        if low is None or high is None or not low < high:
            raise BadInput(f"{line}: an interval goes from a smaller number to a greater one")
        if log and low <= 0:
            raise BadInput(f"{line}: on a logarithmic scale an interval begins above 0")
        return Searched(key, typed, low=low, high=high, log=log)
    if log:
        raise BadInput(f"{line}: log is of an interval, as in tag(log,interval(1e-4,1e-1))")
    choices = tuple(dict.fromkeys(parsed.sweep_string_iterator()))
    if len(choices) < 2:
        raise BadInput(f"{line}: that is {len(choices)} value and nothing to search")
    if isinstance(value, RangeSweep) and not value.shuffle:
        numbers = sorted(float(one) if "." in one or "e" in one else int(one) for one in choices)
        return Searched(key, typed, low=numbers[0], high=numbers[-1], step=abs(value.step))
    return Searched(key, typed, choices=choices)


@dataclass(frozen=True)
class Space:
    """All that is searched. A key that hangs on a choice (`head.C` of `head=choice(logistic,linear)`) is drawn only
    where it `belongs` to the overrides that choose.
    """

    searched: Sequence[Searched]
    is_group: Callable[[str], bool]
    belongs: Callable[[list[str], Searched], bool]

    def draw(self, value_of: Callable[[Searched], Value]) -> list[str]:
        """The overrides of one training: the choices first, then those keys that these have."""
        groups, keys = self._apart()
        chosen = list[str]()
        for one in groups:
            if not _follows_gradients(one) or self.belongs(chosen, one):
                chosen.append(one.override(value_of(one)))
        return chosen + [one.override(value_of(one)) for one in keys if self.belongs(chosen, one)]

    def grid(self) -> list[dict[str, Value]]:
        """All combinations, each the values that it has by their keys: no two are one training."""
        found: dict[tuple[str, ...], dict[str, Value]] = {}
        for values in product(*(one.values() for one in self.searched)):
            used, given = dict[str, Value](), {one.key: value for one, value in zip(self.searched, values, strict=True)}
            found.setdefault(tuple(self.draw(partial(_noted, used, given))), used)
        return list(found.values())

    def samples(self) -> list[list[str]]:
        """Trainings that between them have any two groups' choices together, and each end of an interval, beside the
        first of all others.
        """
        groups, keys = self._apart()
        settings: list[dict[str, Value]] = [{one.key: end} for one in [*groups, *keys] for end in one.ends()]
        settings += [  # and any two groups' choices may be at odds
            {one.key: choice, other.key: also}
            for one, other in combinations(groups, 2) for choice in one.ends() for also in other.ends()
        ]  # fmt: skip
        settings += [  # a key may hang on any of a group's choices
            {group.key: choice, one.key: one.ends()[-1]} for group in groups for choice in group.ends() for one in keys
        ]
        return [list(one) for one in dict.fromkeys(tuple(self.drawn(given)) for given in settings)]

    def drawn(self, given: Mapping[str, Value]) -> list[str]:
        """The overrides of a training with these values, and the first of whatever has none."""
        return self.draw(lambda one: given.get(one.key, one.ends()[0]))

    def groups_of(self, overrides: Sequence[str]) -> list[str]:
        """Those of a training's overrides that choose a file."""
        typed = {one.typed for one in self._apart()[0]}
        return [one for one in overrides if one.partition("=")[0] in typed]

    def _apart(self) -> tuple[list[Searched], list[Searched]]:
        groups = sorted((one for one in self.searched if self.is_group(one.key)), key=_follows_gradients)
        return groups, [one for one in self.searched if one not in groups]


def _follows_gradients(one: Searched) -> bool:
    """Whether a group says nothing of a head that is fitted, and so hangs on the others."""
    return f"{one.key}=".startswith(OF_GRADIENTS)


def _noted(used: dict[str, Value], given: Mapping[str, Value], one: Searched) -> Value:
    return used.setdefault(one.key, given[one.key])
