"""Let runs that are already there vote:   python -m pipeline.ensemble sweep=latest"""

from __future__ import annotations

import logging
from typing import Any

from mlflow import MlflowClient
from rich.box import SIMPLE

from pipeline.config import schema
from pipeline.config.defaults import flatten
from pipeline.experiment.voting import Vote, hold
from pipeline.reporting.ensemble import description, strategies_table, write_strategies
from pipeline.reporting.run_report import write_report
from pipeline.reporting.terminal import console
from pipeline.tracking.finished import count_test_looks, label, taxonomy_of
from pipeline.tracking.members import find_members
from pipeline.tracking.runs import TrackedRun, git_sha, machine, tracked_run
from pipeline.tracking.selection import find_experiment, find_sweep
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.ensemble")


def run(config: schema.Ensemble) -> None:
    """Find the members, try every strategy, let val choose, and keep the outcome as a run of its own."""
    Store().open()
    client = MlflowClient()
    members = find_members(client, config)
    vote = hold(members, config)
    count_test_looks(client, list(members.values()))
    show(vote)
    keep(client, vote, config)


def show(vote: Vote) -> None:
    """The table in the terminal, and the verdict."""
    strategies_table(vote.outcome, vote.chosen).show(console(), lines=SIMPLE)
    for name, weight in vote.weights.items():
        log.info("%s counts %.2f in %s", name, weight, vote.chosen)
    log.info("%s", vote.verdict)


def keep(client: MlflowClient, vote: Vote, config: schema.Ensemble) -> None:
    """The ensemble as a run of its members' experiment."""
    experiment = client.get_experiment(next(iter(vote.members.values())).info.experiment_id).name
    ids = [run.info.run_id for run in vote.members.values()]
    name = config.tracking.run_name or f"{vote.chosen} of {len(vote.weights) or len(ids)}"
    params = flatten(config.model_dump(mode="json")) | {"members": ids, "strategy": vote.chosen}
    with tracked_run(experiment, name=name, tags=run_tags(client, vote, config), params=params) as run:
        run.log_metrics(write(run, vote))
    log.info("run %s in experiment %s", run.name, experiment)
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)


def run_tags(client: MlflowClient, vote: Vote, config: schema.Ensemble) -> dict[str, Any]:
    """What the run is found by; what all members share is told once."""
    runs = list(vote.members.values())
    tags = {tag: "+".join(sorted({run.data.tags.get(tag, "?") for run in runs})) for tag in ("model", "regime", "data")}
    digests = {run.data.tags.get("data_digest", "") for run in runs}
    if len(digests) == 1:
        tags["data_digest"] = digests.pop()
    if len({run.data.params.get("data.bootstrap", "None") for run in runs} - {"None"}) == len(runs):
        tags["bagging"] = "true"
    if config.sweep is not None:
        experiment = find_experiment(client, client.get_experiment(runs[0].info.experiment_id).name)
        tags["sweep"] = find_sweep(client, experiment, config.sweep).info.run_id
    return tags | {
        "stage": "ensemble",
        "strategy": vote.chosen,
        "members": ", ".join(map(label, runs))[:5000],
        "best_member": vote.members[vote.outcome.best_member].info.run_id,
        "git_sha": git_sha(),
        **machine(),
        "mlflow.note.content": f"{vote.verdict}\n\n{description(vote.outcome)}",
    }


def write(run: TrackedRun, vote: Vote) -> dict[str, float]:
    """The files of the run; gives its metrics, under the names that a training run's have."""
    scores = write_report(run.folder, vote.answers, taxonomy=taxonomy_of(next(iter(vote.members.values()))))
    (run.folder / "ensemble").mkdir()
    write_strategies(run.folder / "ensemble", vote.outcome, vote.chosen)
    figures = {f"best/val_{key}": value for key, value in scores["val"].items()}
    figures |= {f"test/{key}": value for key, value in scores.get("test", {}).items()}
    gain = f"gain/{vote.outcome.split}_accuracy"
    figures |= {gain: vote.row["gain"], f"{gain}_low": vote.row["low"], f"{gain}_high": vote.row["high"]}
    return figures | {"networks": float(vote.write(run.folder))}
