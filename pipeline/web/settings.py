"""What the server was started with."""

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.config import schema

PASSWORD_VARIABLE = "PIPELINE_PASSWORD"
_SHORTEST = 8  # letters of a password, where others of the network can try


@dataclass(frozen=True)
class Settings:
    """`folders` by the name that they have on screen, which is not their path; all else as in `conf/app.yaml`."""

    host: str
    port: int
    password: str | None
    folders: dict[str, Path]
    model: str | None
    experiment: str | None
    allowed_hosts: tuple[str, ...]
    train: bool
    limits: schema.PageLimits

    @classmethod
    def of(cls, config: schema.App) -> Self:
        """What a config asks for. BadInput for a folder that is none, or a host open to others without a password."""
        password = config.password if config.password is not None else os.environ.get(PASSWORD_VARIABLE)
        made = cls(
            host=config.host,
            port=config.port,
            password=password or None,
            folders=_named(config.folders),
            model=config.model,
            experiment=config.tracking.experiment,
            allowed_hosts=tuple(config.allowed_hosts),
            train=config.train,
            limits=config.limits,
        )
        if not is_loopback(made.host):
            if made.password is None:
                raise BadInput(
                    f"host={made.host}: others can reach it, so that it needs a password: set {PASSWORD_VARIABLE}"
                )
            if len(made.password) < _SHORTEST:
                raise BadInput(f"password: at least {_SHORTEST} letters, as host={made.host} lets others try")
        return made


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _named(given: list[str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in given:
        folder = expanded(path, "folders").resolve()
        if not folder.is_dir():
            raise BadInput(f"folders={path}: there is no such folder")
        name, number = folder.name or "/", 1
        while name in named and named[name] != folder:
            number += 1
            name = f"{folder.name} ({number})"
        named[name] = folder
    return named
