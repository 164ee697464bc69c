"""Set finished runs side by side:   python -m pipeline.compare sweep=latest"""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from pathlib import Path
from shlex import quote

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.cli.quoting import typed_overrides
from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.comparison.entrants import Entrant
from pipeline.config import schema
from pipeline.experiment.comparison_run import keep
from pipeline.experiment.photographs import log_mistakes_of
from pipeline.reporting.comparison import Comparison, show
from pipeline.reporting.terminal import console
from pipeline.tracking.champion import ensemble_ahead, weigh
from pipeline.tracking.compared import compared
from pipeline.tracking.runs import git_sha
from pipeline.tracking.store import Store

MOST_DIGESTS = 5  # at the page's foot
MADE_BY = "python -m pipeline.compare"  # which says so there

log = logging.getLogger("pipeline.compare")


def run(config: schema.Compare) -> Comparison:
    """Rank by val from stored predictions, with test beside it: in the terminal, as a page, and in MLflow."""
    output = checked_output(config.output)
    Store().open()
    client = MlflowClient()
    title, by_id, entrants, left_out, groups, looks = compared(client, config)
    comparison = Comparison(title, groups, left_out, looks, made_of(entrants))
    show(console(), comparison)  # first, as what follows may not be taken
    leaders = [by_id[row.first.id] for row in groups[0].leaders]
    log_mistakes_of(client, leaders, heat_maps=config.tracking.heat_maps)
    page, kept = keep(client, config, comparison, by_id)
    put_page(output, config.output, page, kept)
    best = max(groups[0].ranking.rows[0].runs, key=lambda one: one.val.figures["accuracy"])
    suggest(client, config, by_id[best.id], " of group 1" if len(groups) > 1 else "")
    return comparison


def made_of(entrants: list[Entrant]) -> list[str]:
    """When, how and of what a comparison was made, for its page's foot."""
    typed = " ".join([MADE_BY, *map(quote, typed_overrides())])
    digests = sorted({one.data for one in entrants if one.data})
    return [
        f"Made on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z} by {typed}; commit {git_sha()}.",
        *([f"Data: {', '.join(digests[:MOST_DIGESTS])}."] if digests else []),
    ]


def checked_output(output: str) -> Path:
    """Where the page goes. BadInput where it cannot."""
    path = expanded(output, "output").resolve()
    if path.is_dir() or path.suffix != ".html":
        raise BadInput(f"output={output}: name a file that ends in .html")
    if not path.parent.is_dir():
        raise BadInput(f"output={output}: the folder {path.parent} is not there")
    if path.is_file() and path.stat().st_size and MADE_BY not in path.read_text(encoding="utf-8", errors="replace"):
        raise BadInput(f"output={output} holds something else than an earlier comparison; name another file")
    return path


def put_page(path: Path, output: str, page: bytes, kept: str) -> None:
    """The page where it was asked for. BadInput, which says where else it is, where that cannot be written."""
    try:
        write_atomically(path, partial(Path.write_bytes, data=page), shared=True)  # half a page is not known as ours
    except OSError as error:
        raise BadInput(
            f"output={output}: it cannot be written ({error.strerror}); the page is in MLflow, under comparison/ of "
            f"{kept}; give output= another place for a copy"
        ) from None
    log.info("page: %s", path)


def suggest(client: MlflowClient, config: schema.Compare, best: Run, which: str) -> None:
    """What to type next: the best network, or an ensemble on its pictures where `promote` would take that."""
    ensemble = ensemble_ahead(client, best, config.sweep) if config.runs is None else None
    if ensemble:
        better, said = weigh(best, ensemble)
        log.info("%s", said)
        best = ensemble if better else best
    log.info("next: python -m pipeline.promote run=%s    to serve the best by val%s", best.info.run_id, which)
