"""Train a finished run once more, and say whether the same came out:   python -m pipeline.reproduce run=ID"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

from pipeline.common.atomic import scratch_folder
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.paths import expanded
from pipeline.config import schema
from pipeline.experiment.again import checked, other_machine, train_again
from pipeline.experiment.sameness import sameness
from pipeline.tracking.finished import label
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.reproduce")


def run(config: schema.Reproduce) -> None:
    """Check, train once more, compare. Stopped, which ends with exit code 1, where anything is not equal."""
    Store().open(to_write=False)
    client = MlflowClient()
    again = checked(client, config)
    with _place(config.output) as place:
        log.info("%s is trained once more, by %s, in %s", label(again.run), again.commit or "this program", place)
        for line in again.differs:
            log.info("differs: %s", line)
        second = train_again(again, place)
        for line in other_machine(again.run, second[1].data.tags):
            if line not in again.differs:  # what is known of a machine once something ran on it
                log.info("differs: %s", line)
        found = list(sameness(client, again.run, *second))
    for one in found:
        log.info("%s: %s", "equal" if one.equal else "differs", one.said)
    if odd := [one.said for one in found if not one.equal]:
        raise Stopped(f"run={config.run}: it is not reproduced to the last bit: {'; '.join(odd)}")
    log.info("run %s is reproduced, equal to the last bit", label(again.run))


@contextmanager
def _place(output: str | None) -> Iterator[Path]:
    """A folder that is new and empty."""
    if output is None:
        with scratch_folder() as folder:
            yield folder
        return
    folder = expanded(output, "output").absolute()
    try:
        folder.mkdir()
    except FileExistsError:
        raise BadInput(f"output={output} is there already: name a folder to be made") from None
    except OSError as error:
        raise BadInput(f"output={output} cannot be made ({error.strerror}): name another folder") from None
    yield folder
