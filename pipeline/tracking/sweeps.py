"""A sweep in MLflow: one parent run, its jobs nested under it, the best so far on the parent."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from getpass import getuser

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunStatus
from mlflow.utils.mlflow_tags import MLFLOW_USER

from pipeline.common.names import PARENT_VARIABLE, SWEPT_VARIABLE
from pipeline.tracking.runs import PARAMETER_LIMIT, git_sha, record_failure, run_given
from pipeline.tracking.selection import CHOOSE_BY, by_metric, children
from pipeline.tracking.store import experiment_id


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep: its jobs, best first, those without a figure last."""

    parent: str
    jobs: list[Run]

    @property
    def failed(self) -> list[Run]:
        """The jobs that did not finish."""
        return [job for job in self.jobs if job.info.status != RunStatus.to_string(RunStatus.FINISHED)]


def open_sweep(experiment: str, overrides: list[str], swept: list[str], jobs: int = 0) -> str:
    """Start a sweep's parent run, leave its id in the environment for the jobs, and give it back.

    Of all `overrides`, `swept` have several values: they name the sweep, and set its jobs apart. `jobs` is how many
    there will be, 0 where that is not known.
    """
    given = run_given(experiment)
    belongs_to = experiment_id(experiment)
    tags = {
        "stage": "sweep", "overrides": shlex.join(overrides), "git_sha": git_sha(), MLFLOW_USER: getuser(),
        **({"jobs": str(jobs)} if jobs else {}),
    }  # fmt: skip
    if given:
        parent = given
        for key, value in tags.items():
            MlflowClient().set_tag(parent, key, value)
    else:
        made = MlflowClient().create_run(belongs_to, run_name=f"sweep {' '.join(swept)}"[:250], tags=tags)
        parent = made.info.run_id
    given_values = dict(one.lstrip("+").partition("=")[::2] for one in overrides if not one.startswith("~"))
    params = [Param(key, value[:PARAMETER_LIMIT]) for key, value in given_values.items()]
    MlflowClient().log_batch(parent, params=params)
    os.environ[PARENT_VARIABLE] = parent
    os.environ[SWEPT_VARIABLE] = ",".join(override.partition("=")[0] for override in swept)
    return parent


def note_best(run_id: str, figure: float) -> None:
    """On the parent, the best val accuracy among the jobs that have ended, of which this is one: one step a job."""
    parent = os.environ.get(PARENT_VARIABLE)
    if not parent:
        return
    client = MlflowClient()
    noted = client.get_metric_history(parent, CHOOSE_BY)
    before = max((point.value for point in noted), default=figure)
    client.log_metric(parent, CHOOSE_BY, max(figure, before), step=len(noted) + 1)
    if figure >= before:
        client.set_tag(parent, "best_run", run_id)


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
    client, finished = MlflowClient(), RunStatus.to_string(RunStatus.FINISHED)
    jobs = [job for job in children(client, os.environ[PARENT_VARIABLE]) if job.info.status != finished]
    own = next((job for job in jobs if job.data.tags.get("overrides") == overrides), None)
    if own is None:
        record_failure("", name=name, tags={"stage": "train", "overrides": overrides}, error=error)
    elif "error" not in own.data.tags:
        client.set_tag(own.info.run_id, "error", error)


def close_sweep(parent: str, expected: Mapping[str, str] | None = None, why: str = "") -> Outcome:
    """End the parent: FINISHED where every job did, else FAILED.

    A job still RUNNING was killed: it is FAILED too. `expected` has a name for the overrides of each job that was
    to be: one without a run gets one that FAILED, with `why` as its error.
    """
    client = MlflowClient()
    jobs = children(client, parent)
    for job in jobs:
        if job.info.status == RunStatus.to_string(RunStatus.RUNNING):
            client.set_tag(job.info.run_id, "error", why or "its process was ended")
            client.set_terminated(job.info.run_id, "FAILED")
    there = {job.data.tags.get("overrides") for job in jobs}
    for overrides, name in (expected or {}).items():
        if overrides not in there:
            record_failure("", name=name, tags={"stage": "train", "overrides": overrides}, error=why)
    outcome = Outcome(parent, by_metric(children(client, parent)))
    _settle_best(client, outcome)
    _keep_dataset(client, outcome)
    client.set_tag(parent, "mlflow.note.content", _note(outcome))
    client.set_terminated(parent, "FAILED" if outcome.failed or not outcome.jobs else "FINISHED")
    os.environ.pop(PARENT_VARIABLE, None)
    return outcome


def abandon_sweep(parent: str) -> None:
    """The sweep was broken off: without jobs it leaves no trace, else it ends FAILED."""
    client = MlflowClient()
    if children(client, parent):
        close_sweep(parent)
        client.set_terminated(parent, "FAILED")
    else:
        client.set_terminated(parent, "FAILED")  # who looks at what was deleted finds nothing under way
        client.delete_run(parent)
    os.environ.pop(PARENT_VARIABLE, None)


def _note(outcome: Outcome) -> str:
    lines = ["| job | best val accuracy | test accuracy | status |", "| --- | --- | --- | --- |"]
    for job in outcome.jobs:
        figures = [job.data.metrics.get(name) for name in (CHOOSE_BY, "test/accuracy")]
        cells = ["" if figure is None else f"{figure:.4f}" for figure in figures]
        lines.append(f"| {job.info.run_name} | {cells[0]} | {cells[1]} | {job.info.status} |")
    return "\n".join(lines)
