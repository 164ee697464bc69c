"""A PostgreSQL server of a test's own, from the system's packages."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
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


@contextmanager
def database(folder):
    """The address of an empty database, in a server that lives as long as this lasts; its files are in `folder`."""
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
    server = subprocess.Popen(
        [bin_folder / "postgres", "-D", data / "cluster", "-h", "127.0.0.1", "-p", str(port), "-k", data, "-F"],
        **quiet, **who,
    )  # fmt: skip
    try:
        ready = [bin_folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "30", "-q"]
        while subprocess.run(ready, check=False).returncode:
            assert server.poll() is None
        yield f"postgresql+pg8000://{USER}@127.0.0.1:{port}/{USER}"
    finally:
        server.send_signal(signal.SIGINT)  # does not wait for who is connected
        server.wait()
