"""Trainings of a search, composed and entered one after the other in this process, as a sweep's jobs are."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from pipeline.cli.composing import ComposedOnce
from pipeline.cli.messages import check
from pipeline.cli.quoting import as_typed
from pipeline.cli.space import Searched
from pipeline.config import schema
from pipeline.config.keys import OF_GRADIENTS
from pipeline.experiment.stages import is_fitted


class Trainings:
    """Configs of `train` with what was typed for a search and is no word of the search itself (`fixed`)."""

    def __init__(self) -> None:
        hydra: Any = GlobalHydra.instance().hydra
        self.loader = hydra.config_loader
        self._master = cast(DictConfig, copy.deepcopy(HydraConfig.instance().cfg))
        with read_write(self._master.hydra), open_dict(self._master):
            self._master.hydra.job.config_name = self._master.hydra.job.name = "train"
        typed = list(HydraConfig.get().overrides.task)
        self.fixed = [one for one in typed if not one.lstrip("+").startswith("tune.")]
        self._composed = ComposedOnce(self.loader)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """With these overrides too; Hydra's own section is in it."""
        return self._composed.load_sweep_config(self._master, [*self.fixed, *overrides])

    def config(self, overrides: Sequence[str]) -> schema.Train:
        """The same as the schema's object. BadInput as `train` would say it."""
        return _checked(self.compose(overrides))

    def is_group(self, key: str) -> bool:
        """Whether a key chooses a file."""
        return bool(self.loader.repository.group_exists(key))

    def belongs(self, chosen: Sequence[str], one: Searched) -> bool:
        """Whether a key is there, and says something, where these choices are made."""
        above, _, name = one.key.rpartition(".")
        composed = self.compose(chosen)
        section = OmegaConf.select(composed, above) if above else composed
        if one.typed == one.key and name not in (section or ()) and not self.is_group(one.key):
            return False
        return not (f"{one.key}=".startswith(OF_GRADIENTS) and is_fitted(_checked(composed)))

    def typed(self, overrides: Sequence[str]) -> list[str]:
        """Such a training's overrides as its user would type them."""
        return [as_typed(one) for one in (*self.fixed, *overrides)]

    def line(self, overrides: Sequence[str]) -> str:
        """What its tag `overrides` says."""
        return shlex.join(self.typed(overrides))

    @contextmanager
    def entered(self, overrides: Sequence[str]) -> Iterator[schema.Train]:
        """While this lasts the training is what the user typed, as a sweep's job is."""
        own, composed = HydraConfig.instance().cfg, self.compose(overrides)
        HydraConfig.instance().set_config(composed)
        try:
            yield _checked(composed)
        finally:
            HydraConfig.instance().cfg = own


def _checked(composed: DictConfig) -> schema.Train:
    plain = composed.copy()
    with open_dict(plain):
        plain.pop("hydra")
    return check(plain, "train")
