"""This program's own code, as it was at a commit, or as it stands, written into a folder."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF

_ROOT = CONF.parent
_PARTS = ("pipeline", "conf")


def write_code(folder: Path) -> None:
    """As it stands."""
    for part in _PARTS:
        shutil.copytree(_ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))


def write_code_of(commit: str, folder: Path) -> None:
    """As it was at a commit of this clone's history. BadInput where that has none of the name, or is no clone."""
    try:
        found = subprocess.run(
            ["git", "-C", str(_ROOT), "archive", "--format=tar", commit, *_PARTS], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
        raise BadInput(
            f"the program's commit {commit} is not in this clone's history ({said.splitlines()[0]}): fetch it with "
            "git, or take the program as it stands, with code=here"
        ) from None
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
