"""A sweep in MLflow: one parent run, its jobs nested under it, the best so far on the parent."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from getpass import getuser
from hashlib import sha256

from mlflow import MlflowClient
from mlflow.entities import Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_USER

from pipeline.common.names import PARENT_VARIABLE, SWEPT_VARIABLE
from pipeline.tracking.finished import minutes
from pipeline.tracking.liveness import KILLED, RUNNING, is_own, is_under_way, own_process
from pipeline.tracking.runs import PARAMETER_LIMIT, STANDS_IN, git_sha, record_failure, run_given
from pipeline.tracking.selection import CHOOSE_BY, FAILED, FINISHED, PRUNED, by_metric, job_key, members, search
from pipeline.tracking.store import experiment_id
from pipeline.tracking.twins import claimed


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep: its jobs, best first, those without a figure last."""

    parent: str
    jobs: list[Run]

    @property
    def under_way(self) -> list[Run]:
        """The jobs that another process is at."""
        return [job for job in self.jobs if is_under_way(job)]

    @property
    def failed(self) -> list[Run]:
        """The jobs that ended, but did not finish, without those that a search ended on purpose."""
        return [
            job
            for job in self.jobs
            if job.info.status != FINISHED and PRUNED not in job.data.tags and not is_under_way(job)
        ]


def open_sweep(
    experiment: str, overrides: list[str], swept: list[str], jobs: Sequence[str] = (), *, anew: bool = False,
    study: str = "",
) -> str:  # fmt: skip
    """Start a sweep's parent run, leave its id in the environment for the jobs, and give it back.

    Of all `overrides`, `swept` have several values: they name the sweep, and set its jobs apart. `jobs` are the
    overrides of each, where they are known before. An earlier sweep of the same jobs is gone on with, unless `anew`.
    Of a search, whose jobs nobody knows before, `study` is the name that it knows itself by.
    """
    given, client = run_given(experiment), MlflowClient()
    belongs_to, digest = experiment_id(experiment), study or sweep_digest(jobs or [shlex.join(overrides)])
    tags = {
        "stage": "sweep", "overrides": shlex.join(overrides), "git_sha": git_sha(),
        MLFLOW_USER: getuser(), MLFLOW_SOURCE_NAME: "pipeline.train",
        "sweep_digest": digest, **({"jobs": str(len(set(jobs)))} if jobs else {}), **own_process(),
        **({"study": study} if study else {}),
    }  # fmt: skip
    kind = "search" if study else "sweep"
    with claimed(belongs_to, digest):
        before = [] if given or anew else search(client, [belongs_to], f"tags.sweep_digest = '{digest}'", limit=1)
        if given or before:
            parent = given or before[0].info.run_id
            if before and not is_under_way(before[0]):
                client.update_run(parent, status=RUNNING)
            for key, value in tags.items():
                client.set_tag(parent, key, value)
        else:
            made = client.create_run(belongs_to, run_name=f"{kind} {' '.join(swept)}"[:250], tags=tags)
            parent = made.info.run_id
    given_values = dict(one.lstrip("+").partition("=")[::2] for one in overrides if not one.startswith("~"))
    if not before:
        client.log_batch(parent, params=[Param(key, text[:PARAMETER_LIMIT]) for key, text in given_values.items()])
    os.environ[PARENT_VARIABLE] = parent
    os.environ[SWEPT_VARIABLE] = ",".join(override.partition("=")[0] for override in swept)
    return parent


def sweep_digest(jobs: Sequence[str]) -> str:
    """Twelve hex digits of a sweep's jobs, each a line of overrides; what changes no figure counts for nothing."""
    return sha256(json.dumps(sorted(map(job_key, jobs))).encode()).hexdigest()[:12]


def note_best(run_id: str, figure: float) -> str | None:
    """On the parent, the best val accuracy among the jobs that have ended, of which this is one: one step a job.

    Gives the run that by now is known not to be the best, if there is one.
    """
    parent, client = os.environ.get(PARENT_VARIABLE), MlflowClient()
    if not parent:
        return None
    try:
        best = client.get_run(parent).data.tags.get("best_run")
    except MlflowException:  # the parent is with a server that is away: at its end the sweep looks at all
        return None
    noted = client.get_metric_history(parent, CHOOSE_BY)
    before = max((point.value for point in noted), default=figure)
    client.log_metric(parent, CHOOSE_BY, max(figure, before), step=len(noted) + 1)
    if figure < before:
        return run_id
    client.set_tag(parent, "best_run", run_id)
    return best if best != run_id else None


def seconds_taken() -> list[float]:
    """Of the jobs that have ended, of the sweep which this is one of."""
    jobs = members(MlflowClient(), os.environ[PARENT_VARIABLE])
    return [60 * minutes(job) for job in jobs if job.info.status == FINISHED]


def _drop_stand_ins(client: MlflowClient, outcome: Outcome) -> None:
    """Delete the runs that stood in for jobs which had none when an earlier try ended, and have one by now."""
    there = {job.info.run_id for job in outcome.jobs}
    experiment = client.get_run(outcome.parent).info.experiment_id
    for run in search(client, [experiment], f"tags.mlflow.parentRunId = '{outcome.parent}'"):
        if run.info.run_id not in there and STANDS_IN in run.data.tags:
            client.delete_run(run.info.run_id)


def _settle_best(client: MlflowClient, outcome: Outcome) -> None:
    """At the end: jobs that ended at the same moment may each have noted less than both."""
    scored = [job for job in outcome.jobs if CHOOSE_BY in job.data.metrics]
    if scored:
        client.log_metric(outcome.parent, CHOOSE_BY, scored[0].data.metrics[CHOOSE_BY], step=len(scored))
        client.set_tag(outcome.parent, "best_run", scored[0].info.run_id)


def _keep_dataset(client: MlflowClient, outcome: Outcome) -> None:
    """On the parent, the pictures of its jobs, where all had the same."""
    given = [job.inputs.dataset_inputs for job in outcome.jobs if job.inputs and job.inputs.dataset_inputs]
    if given and len({one.dataset.digest for inputs in given for one in inputs}) == 1:
        client.log_inputs(outcome.parent, datasets=given[0])


def record_job(overrides: str, name: str, error: str) -> None:
    """Under the parent, a FAILED run for a job that ended before it had one; where it has one, that says why."""
    client = MlflowClient()
    jobs = [job for job in members(client, os.environ[PARENT_VARIABLE]) if job.info.status != FINISHED]
    own = next((job for job in jobs if job_key(job.data.tags.get("overrides", "")) == job_key(overrides)), None)
    if own is None:
        record_failure("", name=name, tags={"stage": "train", "overrides": overrides}, error=error)
    elif "error" not in own.data.tags:
        client.set_tag(own.info.run_id, "error", error)


def close_sweep(parent: str, expected: Mapping[str, str] | None = None, why: str = "") -> Outcome:
    """End the parent: FINISHED where every job did, else FAILED; it stays RUNNING while another process is at one.

    A job still RUNNING that no process is at was killed. `expected` has a name for the overrides of each job that was
    to be: one without a run gets one that FAILED, with `why` as its error.
    """
    client = MlflowClient()
    jobs = members(client, parent)
    for job in jobs:
        if job.info.status == RUNNING and (is_own(job) or not is_under_way(job)):
            client.set_tag(job.info.run_id, "error", why or "its process was ended")
            client.set_terminated(job.info.run_id, KILLED)
    with_runs = {job_key(job.data.tags.get("overrides", "")) for job in jobs}
    for overrides, name in (expected or {}).items():
        if job_key(overrides) not in with_runs:
            record_failure("", name=name, tags={"stage": "train", "overrides": overrides}, error=why)
    outcome = Outcome(parent, by_metric(members(client, parent)))
    _drop_stand_ins(client, outcome)
    _settle_best(client, outcome)
    _keep_dataset(client, outcome)
    client.set_tag(parent, "mlflow.note.content", _note(outcome))
    if "error" in client.get_run(parent).data.tags:  # of an earlier process that was killed
        client.delete_tag(parent, "error")
    if outcome.under_way:  # whoever is at a job is at the sweep: else it would count as left by this process
        there = outcome.under_way[0].data.tags
        for key in own_process().keys() & there.keys():
            client.set_tag(parent, key, there[key])
    else:
        client.set_terminated(parent, FAILED if outcome.failed or not outcome.jobs else FINISHED)
    os.environ.pop(PARENT_VARIABLE, None)
    return outcome


def abandon_sweep(parent: str) -> None:
    """The sweep was broken off: without jobs it leaves no trace, else it is KILLED (unless others are at it)."""
    client = MlflowClient()
    if members(client, parent):
        if not close_sweep(parent).under_way:
            client.set_terminated(parent, KILLED)
    else:
        client.set_terminated(parent, KILLED)  # who looks at what was deleted finds nothing under way
        client.delete_run(parent)
    os.environ.pop(PARENT_VARIABLE, None)


def _note(outcome: Outcome) -> str:
    lines = ["| job | best val accuracy | test accuracy | status |", "| --- | --- | --- | --- |"]
    for job in outcome.jobs:
        figures = [job.data.metrics.get(name) for name in (CHOOSE_BY, "test/accuracy")]
        cells = ["" if figure is None else f"{figure:.4f}" for figure in figures]
        lines.append(f"| {job.info.run_name} | {cells[0]} | {cells[1]} | {job.info.status} |")
    return "\n".join(lines)
