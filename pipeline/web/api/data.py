"""Folders of pictures: what is in them, and a close look at them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from pipeline.web.api.jobs import JobId, check_may, job_of, put, queue_of
from pipeline.web.api.problems import problems
from pipeline.web.folders import Outside, inside, look
from pipeline.web.guard import REPORT
from pipeline.web.jobs.follow import followed, page_of, told
from pipeline.web.jobs.form import PICTURES, Given, about, arguments, checked
from pipeline.web.jobs.record import Job
from pipeline.web.jobs.run import run_of
from pipeline.web.refusal import Refused
from pipeline.web.site import site_of

router = APIRouter(prefix="/api", tags=["data"])


class Pictures(BaseModel):
    """The pictures to look at: `settings` as of a training, those of the data set alone."""

    model_config = ConfigDict(extra="forbid")
    settings: Annotated[dict[str, str | int | float | list[str]], Field(description="such as data.root: photos/moths")]
    by: Annotated[str, Field(max_length=60, description="who asks, for others to see")] = ""


def seen(request: Request, name: str) -> dict[str, Any]:
    """What lies in a folder, by its name; the named folders for no name. Raises Outside."""
    folders = site_of(request).settings.folders
    if not name:
        return {"name": "", "folders": sorted(folders), "tables": [], "pictures": 0, "depth": 0, "samples": []}
    path = inside(name, folders)
    if not path.is_dir():
        raise Outside(name)
    found = look(path, folders[name.split("/", maxsplit=1)[0]])
    return {
        "name": name, "folders": found.folders, "tables": found.tables, "pictures": found.pictures,
        "depth": found.depth, "samples": ["/".join(parts) for parts in found.samples],
        "source": found.source, "whole": found.whole,
    }  # fmt: skip


def submit_exploration(request: Request, given: Given, *, by: str = "") -> Job:
    """A look at pictures put into the queue. Raises Refused, and BadInput for what it would not take."""
    check_may(request)
    typed = checked("explore", arguments(given, site_of(request).settings.folders, PICTURES))
    return put(request, Job.asked("exploration", tuple(typed), given=given, about=about(given), by=by.strip()))


@router.get(
    "/folders", summary="What lies in a folder, of those that the page was opened with", responses=problems(404)
)
def folders(request: Request, folder: Annotated[str, Query(max_length=2000)] = "") -> dict[str, Any]:
    """Names, how many pictures, how deep they lie, and some of their paths; without `folder`, the folders there are."""
    try:
        return seen(request, folder)
    except Outside as error:
        raise Refused(404, str(error)) from None


@router.post("/explorations", status_code=202, summary="Look at all pictures of a folder", responses=problems(400))
def explore(request: Request, asked: Pictures) -> dict[str, Any]:
    """Copies, unreadable and blurred ones, rare classes."""
    job = submit_exploration(request, asked.settings, by=asked.by)
    return told(queue_of(request), job, site_of(request).settings.folders)


@router.get("/explorations/{job_id}", summary="A look at pictures: how far it is, its figures", responses=problems(404))
def exploration(request: Request, job_id: JobId) -> dict[str, Any]:
    """Figures when it is through."""
    queue, job = job_of(request, job_id, "exploration")
    run = run_of(queue, job)
    return followed(queue, job, site_of(request).settings.folders) | {"figures": dict(run.data.metrics) if run else {}}


@router.get(
    "/explorations/{job_id}/page", summary="The page of what was found", response_class=FileResponse,
    responses={200: {"content": {"text/html": {}}}, **problems(404)},
)  # fmt: skip
def exploration_page(request: Request, job_id: JobId) -> Response:
    """One file of HTML."""
    queue, job = job_of(request, job_id, "exploration")
    run = run_of(queue, job)
    page = page_of(run, "explore.html") if run else None
    if page is None:
        raise Refused(404, "there is no such page yet")
    return FileResponse(page, media_type="text/html", headers=REPORT)
