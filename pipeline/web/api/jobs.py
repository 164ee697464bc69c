"""Trainings: started, listed, followed, stopped, gone on with, put to use."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from pipeline.cli.quoting import quoted
from pipeline.web.api.problems import problems
from pipeline.web.guard import address
from pipeline.web.jobs.follow import followed, told
from pipeline.web.jobs.form import Given, about, arguments, checked
from pipeline.web.jobs.queue import Queue, QueueFull, jobs_here
from pipeline.web.jobs.record import Job, Kind
from pipeline.web.jobs.run import run_of
from pipeline.web.refusal import Refused
from pipeline.web.site import site_of

router = APIRouter(prefix="/api", tags=["trainings"])
_FOLLOWERS = 50  # at a time
_OF_ONE = 4  # visitor, or address: browsers have six connections to a server, and pages need some
_EVERY, _SIGN_OF_LIFE = 1.0, 15.0  # seconds between looks, and without news
_following = Counter[str]()  # by who follows
JobId = Annotated[str, Field(max_length=40)]


class Asked(BaseModel):
    """A training: `settings` by the keys that the page's form has, all else as usual."""

    model_config = ConfigDict(extra="forbid")
    settings: Annotated[dict[str, str | int | float | list[str]], Field(description="such as data.root: photos/moths")]
    estimate: Annotated[bool, Field(description="only say how long it would take")] = False
    by: Annotated[str, Field(max_length=60, description="who asks, for others to see")] = ""


def queue_of(request: Request) -> Queue:
    """The jobs of the folder that the page was opened in; what waits there is done."""
    queue = jobs_here()
    queue.wake()
    return queue


def job_of(request: Request, job_id: str, *kinds: Kind) -> tuple[Queue, Job]:
    """The job of an id, of one of these kinds. Raises Refused."""
    queue = queue_of(request)
    job = queue.job(job_id)
    if job is None or (kinds and job.kind not in kinds):
        raise Refused(404, "there is no such job")
    return queue, job


def check_may(request: Request) -> None:
    """Raises Refused where nothing may be started, nor stopped."""
    if not site_of(request).settings.train:
        raise Refused(403, "nothing can be started or stopped here: the page was opened with train=false")


def put(request: Request, job: Job) -> Job:
    """A job put into the queue. Raises Refused where nobody may, or as many wait as may."""
    check_may(request)
    queue = queue_of(request)
    try:
        return queue.submit(job)
    except QueueFull as error:
        raise Refused(429, str(error), {"retry-after": "60"}) from None


def submit_training(request: Request, given: Given, *, estimate: bool, by: str) -> Job:
    """A training, or its forecast, put into the queue. Raises Refused, and BadInput for what it would not take."""
    check_may(request)
    folders = site_of(request).settings.folders
    typed = checked("train", arguments(given, folders))
    asked = Job.asked("training", tuple(typed), given=given, about=about(given), by=by.strip())
    forecast = replace(asked, kind="forecast", arguments=(*typed, "estimate=true"))
    return put(request, forecast if estimate else asked)


def promote(request: Request, job_id: str, by: str = "") -> Job:
    """A training's model put to use. Raises Refused for one without a finished run."""
    _, run = _finished(request, job_id, "put to use")
    return put(request, Job.asked("promotion", (f"run={run.info.run_id}",), about=job_id, by=by))


def compare(request: Request, job_id: str, by: str = "") -> Job:
    """A finished training set beside the others of its experiment. Raises Refused."""
    queue, run = _finished(request, job_id, "compared")
    experiment = MlflowClient().get_experiment(run.info.experiment_id).name
    asked = Job.asked("comparison", (), about=job_id, by=by)
    page = queue.folder / f"{asked.id}.html"
    typed = (f"tracking.experiment={quoted(experiment)}", f"output={quoted(str(page))}")
    return put(request, replace(asked, arguments=typed))


def _finished(request: Request, job_id: str, wanted: str) -> tuple[Queue, Run]:
    queue, job = job_of(request, job_id, "training")
    run = run_of(queue, job) if job.state == "finished" else None
    if run is None:
        raise Refused(409, f"only a training that is finished can be {wanted}")
    return queue, run


@router.get("/trainings", summary="All that was asked for, the newest first", responses=problems())
def trainings(request: Request) -> list[dict[str, Any]]:
    """Trainings, forecasts, comparisons and promotions."""
    queue, folders = queue_of(request), site_of(request).settings.folders
    return [told(queue, job, folders) for job in queue.jobs() if job.kind != "exploration"]


@router.post(
    "/trainings", status_code=202, summary="Start a training, or ask how long it would take", responses=problems(400)
)  # fmt: skip
def start(request: Request, asked: Asked) -> dict[str, Any]:
    """It waits until those before it are through."""
    job = submit_training(request, asked.settings, estimate=asked.estimate, by=asked.by)
    return told(queue_of(request), job, site_of(request).settings.folders)


@router.get(
    "/trainings/{job_id}", summary="A training: how far it is, its figures, what it says", responses=problems(404)
)  # fmt: skip
def training(request: Request, job_id: JobId) -> dict[str, Any]:
    """With the values of each epoch so far."""
    queue, job = job_of(request, job_id)
    return followed(queue, job, site_of(request).settings.folders)


@router.delete(
    "/trainings/{job_id}", status_code=202, summary="Stop a training, or take it out of the queue",
    responses=problems(404),
)  # fmt: skip
def cancel(request: Request, job_id: JobId) -> dict[str, Any]:
    """What it learned is kept, and it can be gone on with. Asked a second time it stops at once."""
    return told(queue_of(request), stop(request, job_id), site_of(request).settings.folders)


def stop(request: Request, job_id: str) -> Job:
    """A job stopped. Raises Refused."""
    check_may(request)
    queue, job = job_of(request, job_id)
    return queue.cancel(job.id) or job


@router.post(
    "/trainings/{job_id}/resume", status_code=202, summary="Go on with a training that was stopped",
    responses=problems(404, 409),
)  # fmt: skip
def resume(request: Request, job_id: JobId) -> dict[str, Any]:
    """From the state that it saved."""
    queue, job = job_of(request, job_id)
    return told(queue, again(request, job.id), site_of(request).settings.folders)


def again(request: Request, job_id: str) -> Job:
    """A job in the queue once more. Raises Refused."""
    _, job = job_of(request, job_id)
    if not job.can_go_on:
        raise Refused(409, "only a training that was stopped, or failed, can be gone on with")
    return put(request, job)


@router.post(
    "/trainings/{job_id}/promote", status_code=202, summary="Put a finished training's model to use",
    responses=problems(404, 409),
)  # fmt: skip
def promoted(request: Request, job_id: JobId) -> dict[str, Any]:
    """Gives the job that does it."""
    return told(queue_of(request), promote(request, job_id), site_of(request).settings.folders)


@router.get(
    "/trainings/{job_id}/events", summary="A training followed: server-sent events, each the training as it then is",
    responses={200: {"content": {"text/event-stream": {}}}, **problems(404)}, response_class=StreamingResponse,
)  # fmt: skip
async def events(request: Request, job_id: JobId) -> StreamingResponse:
    """Until it is over."""
    queue, job = await run_in_threadpool(job_of, request, job_id)
    who = str(request.session.get("id") or address(request))
    if _following.total() >= _FOLLOWERS or _following[who] >= _OF_ONE:
        raise Refused(429, "too many follow trainings at the moment", {"retry-after": "60"})
    lines = _events(request, who, queue, job, site_of(request).settings.folders)
    return StreamingResponse(lines, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _events(request: Request, who: str, queue: Queue, job: Job, folders: dict[str, Path]) -> AsyncIterator[str]:
    _following[who] += 1
    try:
        last, silent = "", 0.0
        while not await request.is_disconnected():
            await run_in_threadpool(queue.wake)
            now = await run_in_threadpool(queue.job, job.id) or job
            text = json.dumps(await run_in_threadpool(followed, queue, now, folders))
            if text != last:
                last, silent = text, 0.0
                yield f"event: training\ndata: {text}\n\n"
            elif silent >= _SIGN_OF_LIFE:
                silent = 0.0
                yield ": still there\n\n"
            if now.is_over:
                yield "event: over\ndata: {}\n\n"
                return
            await asyncio.sleep(_EVERY)
            silent += _EVERY
    finally:
        _following[who] -= 1
        if not _following[who]:
            del _following[who]
