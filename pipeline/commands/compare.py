"""Set finished runs side by side:   python -m pipeline.compare sweep=latest"""

from __future__ import annotations

import logging
import tempfile
from datetime import datetime
from pathlib import Path
from shlex import quote

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.cli.quoting import typed_overrides
from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.comparison.entrants import Entrant
from pipeline.config import schema
from pipeline.experiment.photographs import log_mistakes_of, write_disagreements
from pipeline.reporting.comparison import Comparison, note, show, write_comparison
from pipeline.reporting.terminal import console
from pipeline.tracking.champion import ensemble_ahead, weigh
from pipeline.tracking.compared import chosen, entered, grouped
from pipeline.tracking.finished import count_test_looks, label
from pipeline.tracking.runs import git_sha, tracked_run
from pipeline.tracking.selection import find_experiment, find_sweep
from pipeline.tracking.store import Store

MOST_SIDE_BY_SIDE, MOST_DIGESTS = 3, 5  # leaders on the page of disagreements, digests at the foot

log = logging.getLogger("pipeline.compare")


def run(config: schema.Compare) -> Comparison:
    """Rank by val from stored predictions, with test beside it: in the terminal, as a page, and in MLflow."""
    output = checked_output(config.output)
    Store().open()
    client = MlflowClient()
    runs, title = chosen(client, config)
    entrants, left_out = entered(client, runs, named=config.runs is not None)
    by_id = {run.info.run_id: run for run in runs}
    groups = grouped(client, entrants, by_id, config.leaders)
    looks = count_test_looks(client, [by_id[one.id] for one in entrants if one.test])
    comparison = Comparison(title, groups, left_out, looks, made_of(entrants))
    show(console(), comparison)  # first, as what follows may not be taken
    log_mistakes_of(client, [by_id[row.first.id] for row in groups[0].leaders])
    page, kept = keep(client, config, comparison, by_id)
    put_page(output, config.output, page, kept)
    best = max(groups[0].ranking.rows[0].runs, key=lambda one: one.val.figures["accuracy"])
    suggest(client, config, by_id[best.id], " of group 1" if len(groups) > 1 else "")
    return comparison


def made_of(entrants: list[Entrant]) -> list[str]:
    """When, how and of what a comparison was made, for its page's foot."""
    typed = " ".join(["python -m pipeline.compare", *map(quote, typed_overrides())])
    digests = sorted({one.data for one in entrants if one.data})
    return [
        f"Made on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z} by {typed}; commit {git_sha()}.",
        *([f"Data: {', '.join(digests[:MOST_DIGESTS])}."] if digests else []),
    ]


def write_pages(folder: Path, comparison: Comparison, runs: dict[str, Run]) -> bytes:
    """The tables, the page of the leaders' disagreements and the comparison's page, which is given back."""
    leaders = comparison.groups[0].leaders
    named = {row.name: runs[row.first.id] for row in leaders[:MOST_SIDE_BY_SIDE]}
    disagreements = write_disagreements(folder, comparison.title, named) if len(named) > 1 else ""
    return write_comparison(folder, comparison, disagreements)


def checked_output(output: str) -> Path:
    """Where the page goes. BadInput where it cannot."""
    path = expanded(output, "output").resolve()
    if path.is_dir() or path.suffix != ".html":
        raise BadInput(f"output={output}: name a file that ends in .html")
    if not path.parent.is_dir():
        raise BadInput(f"output={output}: the folder {path.parent} is not there")
    return path


def keep(
    client: MlflowClient, config: schema.Compare, comparison: Comparison, runs: dict[str, Run]
) -> tuple[bytes, str]:
    """Put page and tables on the sweep's parent run; where there is none, on a run of their own. `runs` are by id.

    Gives the page, and the name of that run.
    """
    if config.sweep:
        run = find_sweep(client, find_experiment(client, config.tracking.experiment, config.sweep), config.sweep)
        with tempfile.TemporaryDirectory() as scratch:
            page = write_pages(Path(scratch), comparison, runs)
            client.log_artifacts(run.info.run_id, scratch, "comparison")
        kept = label(run)
    else:
        experiment = client.get_experiment(next(iter(runs.values())).info.experiment_id).name
        tags = {"stage": "compare", "runs": str(len(runs)), "mlflow.note.content": note(comparison)}
        with tracked_run(experiment, name=f"compare {comparison.title}"[:250], tags=tags, params={}) as own:
            folder = own.folder / "comparison"
            folder.mkdir(exist_ok=True)
            page = write_pages(folder, comparison, runs)
            kept = f"{own.name} ({own.id})"
    log.info("in MLflow: %s, under comparison/", kept)
    return page, kept


def put_page(path: Path, output: str, page: bytes, kept: str) -> None:
    """The page where it was asked for. BadInput, which says where else it is, where that cannot be written."""
    try:
        path.write_bytes(page)
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
