"""The page of trainings: a form, what was asked for, and one training followed."""

from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from mlflow import MlflowClient
from mlflow.entities import Run
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from pipeline.common.errors import BadInput
from pipeline.models.at_hand import missing
from pipeline.models.shelf import OnShelf, shelf
from pipeline.serving.figures import figures
from pipeline.tracking.selection import CHOOSE_BY, by_metric, trained_runs
from pipeline.web.api.jobs import JobId, again, compare, job_of, promote, queue_of, stop, submit_training
from pipeline.web.folders import files
from pipeline.web.guard import REPORT
from pipeline.web.jobs.curves import Curve, curve
from pipeline.web.jobs.follow import followed
from pipeline.web.jobs.forecast import foretold
from pipeline.web.jobs.form import FIELDS, LEARNING, PICTURES, Wrong, defaults
from pipeline.web.jobs.record import Job
from pipeline.web.jobs.run import run_of
from pipeline.web.pages.shown import helpers
from pipeline.web.refusal import Refused, told
from pipeline.web.rendering import explained, page, part, words
from pipeline.web.site import site_of

router = APIRouter(include_in_schema=False)
FIRST = ("model", "model.weights_file", "regime", "trainer.epochs")  # of what can be chosen, what is seen at once
OF_FOLDER = ("data", "data.root", "data.file")  # chosen on the page of data
_EARLIER = 20
KEPT_NAME = "asked_by"


@router.get("/train")
def train(request: Request) -> Response:
    """The form, filled with what the address says."""
    given = {key: value for key, value in request.query_params.items() if key in FIELDS and value}
    return _form(request, given)


@router.get("/train/defaults")
def usual(request: Request) -> Response:
    """What stands under each key where nothing is said, for the choices made so far."""
    given = {key: value for key, value in request.query_params.items() if key in FIELDS and value}
    answer = helpers(request, queue_of(request))["answer"]
    try:
        return JSONResponse(
            {key: answer(key, value) for key, value in defaults(given, site_of(request).settings.folders).items()}
        )
    except BadInput as error:
        return JSONResponse({"detail": told(error)}, 400)


@router.post("/train")
async def start(request: Request) -> Response:
    """A training, or its forecast, and its page; the form again where something is wrong."""
    return await run_in_threadpool(_start, request, await request.form(max_fields=100))


def _start(request: Request, form: FormData) -> Response:
    filled = {key: str(value) for key, value in form.items() if str(value).strip()}
    by, action = filled.pop("by", "")[:60], filled.pop("action", "start")
    request.session[KEPT_NAME] = by
    try:
        job = submit_training(request, filled, estimate=action == "estimate", by=by)
    except Wrong as wrong:
        known = {key: value for key, value in filled.items() if key in FIELDS}
        return _form(request, known, wrong={wrong.key: wrong.told(words(request))}, status=400)
    except Refused as error:
        problem = words(request)("train.full") if error.status == 429 else explained(request, error)
        return _form(request, filled, problem=problem, status=error.status)
    except BadInput as error:
        return _form(request, filled, problem=explained(request, error), status=400)
    return RedirectResponse(f"/train/{job.id}", 303)


def _form(
    request: Request,
    given: dict[str, str],
    *,
    wrong: dict[str, str] | None = None,
    problem: str = "",
    status: int = 200,
) -> HTMLResponse:
    settings = site_of(request).settings
    try:
        usually = defaults(given, settings.folders)
    except BadInput:
        usually = defaults({}, settings.folders)
    source = given.get("data") or "digits"
    shown = [field for field in (*PICTURES, *LEARNING) if field.key not in OF_FOLDER]
    queue = queue_of(request)
    shared = helpers(request, queue)
    return page(
        request, "train.html.j2", here="train", status=status, given=given, wrong=wrong or {}, problem=problem,
        usual={key: shared["answer"](key, value) for key, value in usually.items()},
        first=[FIELDS[key] for key in FIRST],
        pictures=[one for one in shown if one in PICTURES and (not one.of or source in one.of)],
        learning=[one for one in shown if one in LEARNING and one.key not in FIRST],
        networks=_networks(), offered={
            key: files(settings.folders, FIELDS[key].endings) for key in ("data.taxonomy", "model.weights_file")
        },
        chosen="data.root" in given or "data.file" in given or given.get("data") == "digits",
        opened=any(key in given or key in (wrong or {}) for key in FIELDS if key not in (*FIRST, *OF_FOLDER)),
        name=request.session.get(KEPT_NAME, ""), may=settings.train,
        jobs=[(job, len(queue.ahead_of(job))) for job in queue.jobs()[:30]], **shared,
    )  # fmt: skip


@cache
def _networks() -> list[tuple[OnShelf, bool]]:
    """Those of the shelf, and whether their published weights are on this machine; these first."""
    found = [(one, missing(one.name, one.weights) is None) for one in shelf()]
    return sorted(found, key=lambda one: (not one[1], one[0].figure("parameters") or 0))


@router.get("/train/{job_id}")
def training(request: Request, job_id: JobId) -> Response:
    """What a job is at, and what can be done with it."""
    return page(request, "training.html.j2", here="train", **followed_job(request, job_id))


@router.get("/train/{job_id}/live")
def live(request: Request, job_id: JobId) -> Response:
    """The part of that page that changes."""
    return HTMLResponse(part(request, "training_live.html.j2", **followed_job(request, job_id)))


def followed_job(request: Request, job_id: str) -> dict[str, Any]:
    """What the template of a job shows. Raises Refused."""
    queue, job = job_of(request, job_id)
    facts = followed(queue, job, site_of(request).settings.folders)
    run = run_of(queue, job)
    later = [one for one in queue.jobs() if one.about == job.id]
    finished = run is not None and job.kind == "training" and job.state == "finished"
    return {
        "job": job, "facts": facts, "ahead": queue.ahead_of(job), "curves": _curves(facts), "report": _report(job),
        "earlier": _earlier(run) if run and finished else [], "measured": figures(run) if run and finished else [],
        "verdict": _verdict(run) if run and finished else None,
        "in_use": bool(run and finished and site_of(request).models.is_in_use(run.info.run_id)),
        "foretold": foretold(facts["log"]),
        "follow": next((one.id for one in (job, *later) if not one.is_over), ""),
        "promotion": next((one for one in later if one.kind == "promotion"), None),
        "comparison": next((one for one in later if one.kind == "comparison"), None),
        "may": site_of(request).settings.train, "left": facts["minutes_left"],
        **helpers(request, queue),
    }  # fmt: skip


def _report(job: Job) -> str:
    """Where the page is that a job wrote."""
    return f"/api/explorations/{job.id}/page" if job.kind == "exploration" else f"/train/{job.id}/comparison"


def _curves(facts: dict[str, Any]) -> dict[str, Curve]:
    """Of loss and of accuracy; none of a head that is fitted at once."""
    found: dict[str, Curve] = {}
    if facts["planned_epochs"] < 2:
        return found
    for name in ("loss", "accuracy"):
        lines = {split: facts["curves"].get(f"{split}/{name}", []) for split in ("train", "val")}
        drawn = curve(lines, facts["planned_epochs"], percent=name == "accuracy")
        if drawn is not None:
            found[name] = drawn
    return found


def _verdict(run: Run) -> dict[str, str] | None:
    """What the training itself says of whether its figures can be believed."""
    text = run.data.tags.get("verdict")
    return {"kind": run.data.tags.get("verdict.kind", ""), "text": text} if text else None


def _earlier(run: Run) -> list[tuple[Run, bool]]:
    """The trainings of the same experiment, best first, and which of them this is."""
    client = MlflowClient()
    runs = by_metric(trained_runs(client, client.get_experiment(run.info.experiment_id)))
    return [(one, one.info.run_id == run.info.run_id) for one in runs if CHOOSE_BY in one.data.metrics][:_EARLIER]


@router.post("/train/{job_id}/{action}")
async def act(request: Request, job_id: JobId, action: str) -> Response:
    """Stop, go on, put to use, compare; then its page again."""
    return await run_in_threadpool(_act, request, job_id, action)


def _act(request: Request, job_id: str, action: str) -> Response:
    _, job = job_of(request, job_id)
    by = str(request.session.get(KEPT_NAME, ""))
    match action:
        case "stop":
            stop(request, job.id)
        case "resume":
            again(request, job.id)
        case "promote":
            promote(request, job.id, by)
        case "compare":
            compare(request, job.id, by)
        case _:
            raise Refused(404, "there is no such action")
    return RedirectResponse(f"/train/{job.id}", 303)


@router.get("/train/{job_id}/comparison")
def comparison(request: Request, job_id: JobId) -> Response:
    """The page that a comparison wrote."""
    queue, job = job_of(request, job_id, "comparison")
    file = queue.folder / f"{job.id}.html"
    if job.state != "finished" or not file.is_file():
        raise Refused(404, "there is no such page yet")
    return FileResponse(file, media_type="text/html", headers=REPORT)
