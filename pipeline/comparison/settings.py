"""How runs were made, setting by setting, and where each comes from: who ran them, this program, or a library."""

import ast
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.comparison.choices import counts, short_value
from pipeline.comparison.entrants import Entrant
from pipeline.config.defaults import defaults, flatten
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS

STATED, OURS, LIBRARY = "stated", "ours", "the library's default"
_OF_GRADIENTS = (
    "optimizer.", "scheduler.", "loss.", "regime.lr", "regime.head_", "regime.backbone_lr", "regime.batchnorm",
    "trainer.epochs", "trainer.patience", "trainer.clip_norm", "trainer.accumulate", "trainer.compile",
)  # fmt: skip
_MANY = 6  # answers: more are not listed
_NOTHING = ("None", "[]", "{}", "")
_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class Setting:
    """A key, the answers that the runs have to it, and the source: `STATED`, `OURS` or `LIBRARY`."""

    key: str
    values: tuple[str, ...]
    source: str

    @property
    def said(self) -> str:
        """The answers as people read them; of many numbers, as a search draws them, the ends."""
        told = [short_value(self.key, value) for value in self.values]
        if len(told) > _MANY and all(isinstance(_plain(value), int | float) for value in self.values):
            return f"{told[0]} to {told[-1]}, {len(told)} values"
        return ", ".join(told)


def settings(runs: Sequence[Entrant]) -> list[Setting]:
    """Those that can change figures, in the order of the keys; without what nobody set and the runs did not use."""
    found = []
    for key in dict.fromkeys(key for run in runs for key in run.choices):
        using = [run for run in runs if key in run.choices and counts(key) and _is_used(key, run.choices)]
        values = tuple(sorted({run.choices[key] for run in using}, key=_in_order))
        if values and not set(values) <= set(_NOTHING):
            found.append(Setting(key, values, _source(key, using)))
    return found


def _is_used(key: str, params: Mapping[str, str]) -> bool:
    """A head that is fitted at once follows no gradient; frozen features are of pictures as they are."""
    if key.startswith(("data.source", "regime.lr.")):  # what `data.name` and `optimizer.lr` say
        return False
    idle = {
        "metadata.": params.get("data.metadata", "[]") in _NOTHING,
        "data.box": params.get("data.crop", "none") == "none",
        "data.crop_margin": params.get("data.crop", "none") == "none",
        "data.split.fold": params.get("data.split.folds", "None") == "None",
    }
    if any(none and key.startswith(begin) for begin, none in idle.items()):
        return False
    fitted = issubclass(HEADS.get(params.get("head.name", ""), torch.nn.Module), FittedHead)
    if fitted and key.startswith(_OF_GRADIENTS):
        return False
    as_they_are = params.get("regime.trains") == "head" and params.get("regime.views", "0") == "0"
    return not (as_they_are and key.startswith(("augmentation.", "regime.views")))


def _in_order(value: str) -> tuple[float, str]:
    """Numbers first, by size."""
    number = _plain(value)
    return (float(number), "") if isinstance(number, int | float) else (math.inf, value)


def _source(key: str, runs: Sequence[Entrant]) -> str:
    sources = {_of(key, run) for run in runs}
    return next(one for one in (STATED, OURS, LIBRARY) if one in sources)


def _of(key: str, run: Entrant) -> str:
    value = run.choices[key]
    if key in run.typed:
        return STATED
    if str(_usual(run).get(key)) != value and "experiment" in run.typed:
        return STATED  # in a file of settings that was asked for by name
    return LIBRARY if _is_librarys(key, value, run.choices) else OURS


def _usual(run: Entrant) -> dict[str, Any]:
    """The program's own answers, flat, for the choices that a run made."""
    nested: dict[str, Any] = {}
    for key, value in run.choices.items():
        section, dot, name = key.partition(".")
        if dot and "." not in name:
            nested.setdefault(section, {})[name] = None if value == "None" else value
    return flatten(defaults(nested))


def _is_librarys(key: str, value: str, params: Mapping[str, str]) -> bool:
    """Whether a library would have done the same unasked."""
    section, _, name = key.partition(".")
    if key == "model.weights":
        return value == "DEFAULT"
    maker: Any = _OPTIMIZERS.get(params.get("optimizer.name", "")) if section == "optimizer" else None
    if section == "loss" and params.get("loss.name") == "cross_entropy":
        maker = torch.nn.CrossEntropyLoss
    known = inspect.signature(maker).parameters.get(name) if maker else None
    return known is not None and known.default is not inspect.Parameter.empty and _plain(value) == _plain(known.default)


def _plain(value: Any) -> Any:
    try:
        value = ast.literal_eval(str(value))
    except (ValueError, SyntaxError):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
