"""A comparison among its runs in MLflow: its page, its tables and the photographs its leaders differ on."""

import logging
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.atomic import scratch_folder
from pipeline.config import schema
from pipeline.experiment.photographs import write_disagreements
from pipeline.reporting.comparison import Comparison, note, write_comparison
from pipeline.tracking.finished import label
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.selection import find_experiment, find_sweep

MOST_SIDE_BY_SIDE = 3  # leaders on the page of disagreements

log = logging.getLogger("pipeline.compare")


def keep(
    client: MlflowClient, config: schema.Compare, comparison: Comparison, runs: dict[str, Run]
) -> tuple[bytes, str]:
    """Put page and tables on the sweep's parent run; where there is none, on a run of their own. `runs` are by id.

    Gives the page, and the name of that run.
    """
    if config.sweep:
        run = find_sweep(client, find_experiment(client, config.tracking.experiment, config.sweep), config.sweep)
        with scratch_folder() as scratch:
            page = write_pages(scratch, comparison, runs)
            client.log_artifacts(run.info.run_id, str(scratch), "comparison")
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


def write_pages(folder: Path, comparison: Comparison, runs: dict[str, Run]) -> bytes:
    """The tables, the page of the leaders' disagreements and the comparison's page, which is given back."""
    leaders = comparison.groups[0].leaders
    named = {row.name: runs[row.first.id] for row in leaders[:MOST_SIDE_BY_SIDE]}
    disagreements = write_disagreements(folder, comparison.title, named) if len(named) > 1 else ""
    return write_comparison(folder, comparison, disagreements)
