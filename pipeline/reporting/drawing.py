"""Figures drawn in another process, while this one goes on to the next job of a sweep.

What draws is imported by who draws: `--help` of a training gets as far as this file.
"""

from __future__ import annotations

import logging
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

log = logging.getLogger(__name__)


class DrawingProcess:
    """Called as `report.draw_figures` is; the figures are there when `close` returns.

    The process starts with the first figures, and ends by itself should this one be killed.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, folder: Path, split: str, history: Any, taxonomy: Any, /) -> None:
        """Have a run's figures drawn; at once and here where the other process is gone."""
        asked = (folder, split, history, taxonomy)
        try:
            if self._process is None:
                self._process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE)
            requests: Any = self._process.stdin
            pickle.dump(asked, requests)
            requests.flush()
        except OSError:
            _draw(*asked)

    def close(self) -> None:
        """Wait until all is drawn."""
        if self._process is None:
            return
        with suppress(OSError):
            self._process.communicate()
        if self._process.returncode:
            log.warning("warning: not all figures could be drawn; the numbers are there")
        self._process = None


def _draw(*asked: Any) -> None:
    from pipeline.reporting.run_report import draw_figures

    draw_figures(*asked)


def draw_all(requests: BinaryIO) -> int:
    """Draw what is asked for until nobody asks any more; how often it failed."""
    failed = 0
    while True:
        try:
            asked = pickle.load(requests)  # from the process that started this one
        except EOFError:
            return failed
        try:
            _draw(*asked)
        except Exception as error:
            failed += 1
            print(f"warning: the figures in {asked[0]} could not be drawn: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for one in (signal.SIGINT, signal.SIGTERM):  # meant for the process that asks; what it asked for is drawn
        signal.signal(one, signal.SIG_IGN)
    sys.exit(min(draw_all(sys.stdin.buffer), 1))
