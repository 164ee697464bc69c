"""A command's config without the command: what it would be run with, and what it would refuse."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli.command import VERSION_BASE, for_hydra
from pipeline.cli.messages import check, one_line
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF

_alone = threading.Lock()  # Hydra knows one config at a time


@contextmanager
def _apart() -> Iterator[None]:
    """Leave the Hydra alone that the command itself runs in."""
    with _alone:
        own = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = own


def composed(name: str, typed: Sequence[str]) -> Any:
    """The config of a command as typed, as its schema's object. BadInput as the command itself would say it."""
    try:
        with _apart(), initialize_config_dir(str(CONF), **VERSION_BASE):
            found = compose(name, for_hydra(name, typed, multirun=False))
        return check(found, name)
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInput(one_line(error, name)) from None
