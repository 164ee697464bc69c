"""The page of folders: what is in them, what says which species a picture shows, a close look."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipeline.common.errors import BadInput
from pipeline.data.checks import SPLIT_NAMES
from pipeline.web.api.data import seen, submit_exploration
from pipeline.web.api.jobs import JobId, queue_of
from pipeline.web.folders import Outside
from pipeline.web.jobs.form import Wrong
from pipeline.web.pages.shown import helpers
from pipeline.web.pages.train import KEPT_NAME, followed_job
from pipeline.web.refusal import Refused, status_of
from pipeline.web.rendering import explained, page, part, words
from pipeline.web.site import site_of
from pipeline.web.words import Words

router = APIRouter(include_in_schema=False)
_EXAMPLES = 3


@router.get("/data")
def data(request: Request, folder: str = "") -> Response:
    """A folder below those that the page was opened with; these, where none is named."""
    return _folder(request, folder)


def _folder(
    request: Request, name: str, *, filled: dict[str, str] | None = None, problem: str = "", status: int = 200
) -> HTMLResponse:  # fmt: skip
    t, filled = words(request), filled or {}
    try:
        found = seen(request, name)
    except Outside as error:
        found, problem, status = seen(request, ""), explained(request, error), error.status
    choices = _choices(found, t)
    parts = name.split("/") if found["name"] else []
    queue = queue_of(request)
    return page(
        request, "data.html.j2", here="data", status=status, seen=found, problem=problem,
        crumbs=[(part, "/".join(parts[: place + 1])) for place, part in enumerate(parts)], choices=choices,
        chosen=filled.get("labels") or _likely(found, choices),
        pattern=filled.get("pattern", ""), suggested=_suggested(found), may=site_of(request).settings.train,
        jobs=[job for job in queue.jobs() if job.kind == "exploration"][:10], **helpers(request, queue),
    )  # fmt: skip


def _folders_of(sample: str) -> list[str]:
    """The folders that a picture lies in, those of splits left out."""
    parts = sample.split("/")[:-1]
    return parts[1:] if parts and parts[0].lower() in SPLIT_NAMES else parts


def _choices(found: dict[str, Any], t: Words) -> list[tuple[str, str]]:
    """What may say which species is on a picture: the published files of the folder, each level of its folders."""
    source = found.get("source", "folder")
    choices = [] if source == "folder" else [("files", t("folders.by_files", source=source))]
    paths = [_folders_of(sample) for sample in found["samples"]]
    for level in range(min(map(len, paths), default=0)):
        names = list(dict.fromkeys(path[level] for path in paths))
        choices.append((f"level {level + 1}", t("folders.level", n=level + 1, examples=_some(names))))
    return choices


def _some(names: list[str]) -> str:
    return ", ".join(names[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")


def _likely(found: dict[str, Any], choices: list[tuple[str, str]]) -> str:
    """Published files know best; else species are mostly the folders right above the pictures."""
    if not choices:
        return "pattern"
    return choices[-1 if found["source"] == "folder" else 0][0]


def _suggested(found: dict[str, Any]) -> str:
    depth = len(_folders_of(found["samples"][0])) if found["samples"] else 0
    return "/".join([*["{}"] * (depth - 1), "{label}", "{}"]) if depth else "{label}_{}"


@router.post("/data")
async def chosen(request: Request) -> Response:
    """On to training, or to a close look."""
    return await run_in_threadpool(_chosen, request, await request.form(max_fields=20))


def _chosen(request: Request, form: FormData) -> Response:
    filled = {key: str(value) for key, value in form.items()}
    name, labels = filled.get("data.root", ""), filled.get("labels", "")
    given = {"data": "folder", "data.root": name}
    try:
        found = seen(request, name)
        if labels == "files":
            given["data"] = found["source"]
        elif labels == "pattern":
            given["data.from_path"] = filled.get("pattern", "").strip() or _suggested(found)
        elif labels.startswith("level ") and found["depth"] > 1:
            given["data.label_depth"] = labels.removeprefix("level ")
        if filled.get("action") != "explore":
            return RedirectResponse(f"/train?{urlencode(given)}", 303)
        job = submit_exploration(request, given, by=str(request.session.get(KEPT_NAME, "")))
    except Wrong as wrong:
        problem = f"{words(request)(f'train.field.{wrong.key}')}: {wrong.told(words(request))}"
        return _folder(request, name, filled=filled, problem=problem, status=400)
    except (BadInput, Refused) as error:
        return _folder(request, name, filled=filled, problem=explained(request, error), status=status_of(error))
    return RedirectResponse(f"/data/{job.id}", 303)


@router.get("/data/{job_id}")
def exploration(request: Request, job_id: JobId) -> Response:
    """What a close look is at, then the page of what it found."""
    return page(request, "training.html.j2", here="data", **followed_job(request, job_id))


@router.get("/data/{job_id}/live")
def live(request: Request, job_id: JobId) -> Response:
    """The part of that page that changes."""
    return HTMLResponse(part(request, "training_live.html.j2", **followed_job(request, job_id)))
