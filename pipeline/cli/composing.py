"""A sweep's jobs composed once: those that make the same choices and differ in plain values share what is read."""

import copy
from typing import Any

from hydra._internal import config_loader_impl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict


class ComposedOnce:
    """Hydra's loader of configs, for a sweep.

    Hydra composes each job of a sweep from its files twice: to see that all are legal, and to run it. Here the files
    are read once for each combination of choices (`model=resnet50`); plain values (`seed=3`) are set in a copy.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a launcher's process asks for these before there is a loader
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __getstate__(self) -> dict[str, Any]:
        return {"_loader": self._loader, "_composed": {}}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The config of the job with these overrides, as Hydra's own loader gives it."""
        parsed = OverridesParser.create().parse_overrides(sweep_overrides)
        plain = [one for one in parsed if self._is_plain(one)]
        choices = tuple(line for line, one in zip(sweep_overrides, parsed, strict=True) if one not in plain)
        if choices not in self._composed:
            self._composed[choices] = self._loader.load_sweep_config(master_config, list(choices))
        config = copy.deepcopy(self._composed[choices])
        config_loader_impl.ConfigLoaderImpl._apply_overrides_to_config(plain, config)
        with open_dict(config.hydra):
            config.hydra.overrides.task = list(sweep_overrides)
            if name_of_all := getattr(config_loader_impl, "get_overrides_dirname", None):  # Hydra 1.4 does it by itself
                how = config.hydra.job.config.override_dirname
                config.hydra.job.override_dirname = name_of_all(parsed, how.exclude_keys, how.item_sep, how.kv_sep)
        return config

    def _is_plain(self, override: Any) -> bool:
        """Whether an override sets a value and chooses no file."""
        key = override.key_or_group
        return (
            override.package is None and not key.startswith("hydra.") and not self._loader.repository.group_exists(key)
        )
