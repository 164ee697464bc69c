"""Which runs a command looks at: those of an experiment, or of one sweep in it; best first."""

import logging
import re
import shlex
from collections.abc import Collection

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, RunStatus
from mlflow.exceptions import MlflowException

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.config.keys import SAME_FIGURES

FINISHED, FAILED = RunStatus.to_string(RunStatus.FINISHED), RunStatus.to_string(RunStatus.FAILED)
CARRIED_FROM = "carried.from"  # the tag of a run that came from another store: its id there
CHOOSE_BY = "best/val_accuracy"  # the best epoch's; MLflow itself would sort by the last value logged
PRUNED = "pruned"  # the tag of a run that a search ended early, as it fell behind; its value says when
_LOWER_IS_BETTER = ("loss", "ece", "brier")
_PAGE = 1000

log = logging.getLogger(__name__)
_SWEEPS = "tags.stage = 'sweep'"


def find_experiment(client: MlflowClient, name: str | None, sweep: str | None = None) -> Experiment:
    """The experiment of that name, else that of the `sweep` asked for, else that of the latest run.

    Raises BadInput where there is none.
    """
    experiments = [one for one in client.search_experiments() if one.name != "Default"]
    if name is None and sweep is not None:
        for run in search(client, [one.experiment_id for one in experiments], _SWEEPS):
            if sweep in ("latest", run.info.run_id):
                return client.get_experiment(run.info.experiment_id)
    if name is None:
        latest = search(client, [one.experiment_id for one in experiments], "", limit=1)
        if not latest:
            raise BadInput("there are no runs yet: train first, with python -m pipeline.train")
        return client.get_experiment(latest[0].info.experiment_id)
    for experiment in experiments:
        if experiment.name == name:
            return experiment
    raise BadInput(
        f"tracking.experiment={name}: there is no such experiment{did_you_mean(name, [e.name for e in experiments])}"
    )


def trained_runs(client: MlflowClient, experiment: Experiment, sweep: str | None = None) -> list[Run]:
    """The finished training runs of an experiment, or of its sweep `latest` or of that run id; newest first."""
    if sweep is not None:
        parent = find_sweep(client, experiment, sweep)
        runs = members(client, parent.info.run_id)
        _tell_of_the_missing(parent, runs)
    else:
        runs = search(client, [experiment.experiment_id], "")
    return [run for run in runs if run.info.status == FINISHED and run.data.tags.get("stage") == "train"]


def _tell_of_the_missing(sweep: Run, jobs: list[Run]) -> None:
    """A sweep that was broken off, or whose jobs failed, is not taken for the whole."""
    jobs = [job for job in jobs if PRUNED not in job.data.tags]
    finished, planned = sum(job.info.status == FINISHED for job in jobs), int(sweep.data.tags.get("jobs", len(jobs)))
    if finished < max(planned, len(jobs)):
        log.warning("warning: of the sweep's %d jobs %d finished", max(planned, len(jobs)), finished)


def ensembles(client: MlflowClient, experiment: Experiment, sweep: str | None = None) -> list[Run]:
    """The finished ensembles of an experiment, or of those runs of a sweep alone; newest first."""
    runs = search(client, [experiment.experiment_id], "tags.stage = 'ensemble'")
    if sweep is not None:
        parent = find_sweep(client, experiment, sweep).info.run_id
        runs = [run for run in runs if run.data.tags.get("sweep") == parent]
    return [run for run in runs if run.info.status == FINISHED]


def find_sweep(client: MlflowClient, experiment: Experiment, sweep: str) -> Run:
    """A sweep's parent run: the `latest` of the experiment, or that of an id."""
    sweeps = search(client, [experiment.experiment_id], _SWEEPS)
    for run in sweeps:
        if sweep in ("latest", run.info.run_id):
            return run
    raise BadInput(
        f"sweep={sweep}: {experiment.name} has no such sweep; it can be latest"
        + "".join(f", {run.info.run_id} ({run.info.run_name})" for run in sweeps[:5])
        if sweeps
        else f"sweep={sweep}: {experiment.name} has no sweep yet; leave sweep= out to look at all its runs"
    )


def find_run(client: MlflowClient, run_id: str, given: str = "", kinds: Collection[str] = ("train", "ensemble")) -> Run:
    """A run of these kinds by its id, which was `given` as messages name it (`run=` and the id if not said).

    BadInput where there is none, where it was deleted, and where it is of another kind, which is named.
    """
    said = given or f"run={run_id}"
    try:
        run = run_of_id(client, run_id)
    except MlflowException:
        raise BadInput(f"{said}: MLflow has no run of that id; mlflow ui shows those there are") from None
    if run.info.lifecycle_stage == "deleted":
        raise BadInput(f"{said}: that run was deleted; name another, or restore it in the MLflow UI")
    kind = run.data.tags.get("stage", "")
    if kind not in kinds:
        raise BadInput(f"{said}: that is {_described(client, run, kind)}")
    return run


def run_of_id(client: MlflowClient, run_id: str) -> Run:
    """A run by its id, or by that which it had in the store that it was carried from. Raises MlflowException."""
    try:
        return client.get_run(run_id)
    except MlflowException:
        everywhere = [one.experiment_id for one in client.search_experiments()]
        if re.fullmatch("[0-9a-f]{32}", run_id):
            for run in search(client, everywhere, f"tags.`{CARRIED_FROM}` = '{run_id}'", limit=1):
                return run
        raise


def _described(client: MlflowClient, run: Run, kind: str) -> str:
    """What a run of the wrong kind is, and which id was meant perhaps."""
    match kind:
        case "sweep":
            done = [job for job in members(client, run.info.run_id) if job.info.status == FINISHED]
            best = by_metric(done)[:1]
            one = f", such as {best[0].info.run_id}, the best by val" if best else ""
            return f"a sweep, not one of its jobs; name a job{one}, or where a command takes it sweep={run.info.run_id}"
        case "evaluate":
            return f"an evaluation, not a network; the run that it asked is {run.data.tags.get('evaluated_run')}"
        case "ensemble":
            return "an ensemble, not one network's training; name such a run"
        case "compare" | "explore":
            return f"a run of the command {kind}; name one of a network's training"
    return "no run of this pipeline; name one of a network's training"


def members(client: MlflowClient, parent: str) -> list[Run]:
    """A sweep's jobs, newest first: those under it in MLflow, and runs found that were the same training.

    Of several with the same overrides (a job that failed, and was run again) the newest, if one finished such a one.
    """
    experiment_id = client.get_run(parent).info.experiment_id
    under = search(client, [experiment_id], f"tags.mlflow.parentRunId = '{parent}'")
    found = search(client, [experiment_id], f"tags.`{found_tag(parent)}` LIKE '%'")
    for run in found:
        run.data.tags["overrides"] = run.data.tags[found_tag(parent)]  # as they are in this sweep
    newest: dict[str, Run] = {}
    for run in sorted([*under, *found], key=lambda run: (run.info.status == FINISHED, run.info.start_time)):
        newest[job_key(run.data.tags.get("overrides", "")) or run.info.run_id] = run
    return sorted(newest.values(), key=lambda run: run.info.start_time, reverse=True)


def job_key(overrides: str) -> str:
    """What tells a sweep's jobs apart in a line of overrides: those that can change figures, in any order."""
    try:
        given = shlex.split(overrides)
    except ValueError:  # of another program
        given = [overrides]
    return shlex.join(sorted(one for one in given if not one.lstrip("+~").startswith(SAME_FIGURES)))


def found_tag(parent: str) -> str:
    """The tag of a run that a sweep did not run again; its value are the overrides of the job."""
    return f"found_by.{parent}"


def evaluated_run(client: MlflowClient, experiment_id: str, key: str) -> Run | None:
    """An earlier evaluation that asked the same of the same pictures."""
    where = f"tags.stage = 'evaluate' and tags.evaluation_key = '{key}' and attributes.status = 'FINISHED'"
    found = search(client, [experiment_id], where, limit=1)
    return found[0] if found else None


def lower_is_better(metric: str) -> bool:
    """Whether less of it is better, as of losses and calibration errors."""
    return any(word in metric for word in _LOWER_IS_BETTER)


def by_metric(runs: list[Run], metric: str = CHOOSE_BY) -> list[Run]:
    """Best first; what lacks the metric comes last. Lower is better for losses and calibration errors."""
    sign = 1 if lower_is_better(metric) else -1
    return sorted(runs, key=lambda run: sign * run.data.metrics[metric] if metric in run.data.metrics else float("inf"))


def search(client: MlflowClient, experiments: list[str], filter_string: str, limit: int | None = None) -> list[Run]:
    """The runs of experiments that pass MLflow's filter, newest first; at most `limit`."""
    found: list[Run] = []
    if not experiments:
        return found
    token = None
    while True:
        page = client.search_runs(
            experiments, filter_string, max_results=limit or _PAGE, order_by=["attributes.start_time DESC"],
            page_token=token,
        )  # fmt: skip
        found += page
        token = page.token
        if not token or limit:
            return found
