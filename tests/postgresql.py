"""A PostgreSQL server of a test's own, from the system's packages."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER = "postgres"  # who runs the server, where the tests are root's, to whom it would refuse


def programs():
    """The folder of `initdb` and `postgres`; without them the test is skipped, but for CI, where it fails."""
    found = [
        *Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        *Path("/opt").glob("homebrew/opt/postgresql*/bin/initdb"),
    ]
    on_path = shutil.which("initdb")
    if on_path or found:
        return Path(on_path).resolve().parent if on_path else sorted(found)[-1].parent
    reason = "there is no PostgreSQL here (apt-get install postgresql)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Database:
    """A server with an empty database, and its `address`."""

    address: str
    begin: Callable[[], subprocess.Popen]
    ready: Sequence[str | Path]
    process: subprocess.Popen | None = None

    def start(self):
        """Until it answers."""
        self.process = self.begin()
        while subprocess.run(self.ready, check=False).returncode:
            assert self.process.poll() is None

    def stop(self):
        """At once, whoever is connected."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


@contextmanager
def database(folder):
    """A server that lives as long as this lasts; its files are in `folder`."""
    bin_folder, root = programs(), os.geteuid() == 0
    who = {"user": USER, "group": USER, "extra_groups": []} if root else {}
    data = folder / "postgres"
    data.mkdir()
    if root:
        shutil.chown(data, USER, USER)
        for above in folder.parents:  # pytest's folders are closed to others
            if above.stat().st_uid == 0 and above.is_relative_to(folder.parents[2]):
                above.chmod(0o711)
        folder.chmod(0o711)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data}
    subprocess.run(
        [bin_folder / "initdb", "-D", data / "cluster", "-U", USER, "-A", "trust", "--no-sync"],
        check=True,
        **quiet,
        **who,
    )
    serve = [bin_folder / "postgres", "-D", data / "cluster", "-h", "127.0.0.1", "-p", str(port), "-k", data, "-F"]
    made = Database(
        f"postgresql+pg8000://{USER}@127.0.0.1:{port}/{USER}",
        begin=lambda: subprocess.Popen(serve, **quiet, **who),
        ready=[bin_folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "30", "-q"],
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
