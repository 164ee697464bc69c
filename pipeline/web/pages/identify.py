"""Identify: pictures in, names out, put right by whoever looks, and taken away as a table."""

import io
import json
import re
from dataclasses import replace
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from markupsafe import Markup
from mlflow.exceptions import MlflowException
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from pipeline.common.errors import BadInput
from pipeline.data.attributes import called, in_words
from pipeline.data.beside.encodings import Category
from pipeline.data.beside.metadata import Metadata
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.files import write_csv
from pipeline.reporting.page import source
from pipeline.serving.answers import Answer
from pipeline.serving.only import among
from pipeline.serving.published import darwin_core
from pipeline.web import showing
from pipeline.web.asking import Sent, ask, listed_in, names_in, page_wants
from pipeline.web.models import BEST, Choice, Ready
from pipeline.web.refusal import Refused, status_of, told
from pipeline.web.rendering import explained, page, part, visitor, words
from pipeline.web.site import Site, site_of
from pipeline.web.together import Part, differs, how_many
from pipeline.web.uploads import Asked, Visit

router = APIRouter(include_in_schema=False)
_ON_A_PAGE = 50  # answers
_LABELS = 2000  # that are offered where an answer is put right
_PREFIX = "fact:"
_PART = "x-part"  # the header by which the page's script asks for a part instead of a page

Text = Annotated[str, Form(max_length=250)]


@router.get("/")
async def identify(
    request: Request, model: str = "", checkpoint: str = BEST, number: Annotated[int, Query(alias="page", ge=1)] = 1
) -> HTMLResponse:
    """The form, and what was answered; the model that was chosen stays so."""
    if model:
        await run_in_threadpool(site_of(request).models.asked, model, checkpoint)
        request.session["model"], request.session["checkpoint"] = model, checkpoint
    return await _page(request, number)


@router.post("/identify")
async def asked(
    request: Request, files: Annotated[list[UploadFile], File(default_factory=list)],
    places: Annotated[list[UploadFile], File(default_factory=list)], model: Text = "", checkpoint: Text = BEST,
    sure: Annotated[float, Form(ge=0, le=1)] = 0.5, together: Annotated[bool, Form()] = False,
    only: Annotated[str, Form(max_length=100_000)] = "", region: Text = "",
) -> Response:  # fmt: skip
    """Answers to pictures: to the script a list item each, else the page again."""
    sent = await Sent.of(files)
    if not sent:
        return await _page(request, 1, problem=words(request)("identify.choose_first"), status=400)
    try:
        ready = await run_in_threadpool(site_of(request).models.asked, model, checkpoint)
        names = await _listed(ready, only, await Sent.of(places), region.strip())
        made, failed = await _answers(request, ready, sent, names, sure, together=together)
    except (BadInput, Refused) as error:
        made, failed = [], [error]
    if failed and _PART in request.headers:
        raise failed[0]
    if failed:
        problem = explained(request, failed[0], "; ".join(dict.fromkeys(map(told, failed))))
        return await _page(request, 1, problem=problem, status=status_of(failed[0]))
    if _PART in request.headers:
        return HTMLResponse("".join(_item(request, one) for one in made))
    return RedirectResponse("/#results", 303)


async def _listed(ready: Ready, only: str, places: list[Sent], region: str) -> tuple[str, ...]:
    """What can be the answer: names that were typed, and those of a table that was sent. BadInput for strange ones."""
    names = names_in(only, ready.bundle.called)
    if region and not places:
        raise BadInput("region: send a table of regions and what lives there beside it")
    for table in places:
        names += await listed_in(ready, table, region)
    if names:
        among(names, ready.bundle.called, len(ready.bundle.classes), "only")
    return tuple(names)


async def _answers(
    request: Request, ready: Ready, sent: list[Sent], only: tuple[str, ...], sure: float, *, together: bool
) -> tuple[list[Asked], list[Exception]]:
    """One a picture, or one of all; and why others have none."""
    given = (await request.form()).items()
    facts = {key.removeprefix(_PREFIX): str(value).strip() for key, value in given if key.startswith(_PREFIX)}
    groups = [sent] if together else [[one] for one in sent]
    made, failed = list[Asked](), list[Exception]()
    for group in groups:
        try:
            made.append(await _answered(request, ready, group, facts, sure, only))
        except (BadInput, Refused) as error:
            failed.append(error)
    return made, failed


async def _answered(
    request: Request, ready: Ready, sent: list[Sent], facts: dict[str, str], sure: float, only: tuple[str, ...]
) -> Asked:
    """One specimen's pictures kept and answered; nothing stays of those that have no answer."""
    site = site_of(request)
    visit = site.visits.begin(visitor(request), len(sent))
    kinds = ready.bundle.columns
    known = {name: _with_point(value, kinds[name]) for name, value in facts.items() if value and name in kinds}
    wanted = page_wants(ready, sure, only)
    (answer,), (part,) = await ask(site, ready, sent, wanted, [known] * len(sent), together=True)
    pictures = [await run_in_threadpool(visit.keep, one.data, one.name) for one in sent]
    return visit.add(pictures, known, ready, answer, sure, only, part)


def _with_point(value: str, kind: str) -> str:
    """A number as programs read it, also where people write it with a comma."""
    return value.replace(",", ".") if kind == "double" and re.fullmatch(r"-?[0-9]+,[0-9]+", value) else value


@router.post("/identify/clear")
async def clear(request: Request) -> Response:
    """Delete all that this visitor sent."""
    site_of(request).visits.forget(visitor(request))
    return RedirectResponse("/", 303)


@router.get("/identify/answers.csv")
async def answers_csv(request: Request) -> Response:
    """The table, as `predict` writes it."""
    rows = [one.to_row() for one in _visit(request).all()]
    return await run_in_threadpool(_csv, pd.DataFrame(rows), "answers.csv")


@router.get("/identify/darwin_core.csv")
async def darwin_core_csv(request: Request) -> Response:
    """The table in Darwin Core's terms."""
    visit = _visit(request)
    made = [darwin_core([one.as_put_right()], one.ready.name) for one in visit.all()]
    return await run_in_threadpool(_csv, pd.concat(made) if made else pd.DataFrame(), "darwin_core.csv")


@router.get("/identify/counts.csv")
async def counts_csv(request: Request) -> Response:
    """How many there are, as `predict counts=true` writes it."""
    found = await run_in_threadpool(_counts, _visit(request))
    return await run_in_threadpool(_csv, pd.DataFrame() if found is None else found, "counts.csv")


@router.get("/identify/counts")
async def counts(request: Request) -> HTMLResponse:
    """How many there are of each class among what was answered."""
    several = _visit(request).by_newest()
    found = await run_in_threadpool(_counts, _visit(request))
    rows = [] if found is None else found.to_dict("records")
    taxonomy = several[0].ready.bundle.taxonomy if several else None
    return page(
        request, "counts.html.j2", here="identify", rows=rows, count=len(several),
        names=showing.names(taxonomy, [row["label"] for row in rows]),
    )  # fmt: skip


def _counts(visit: Visit) -> pd.DataFrame | None:
    several = visit.by_newest()
    return how_many(several[0].ready.bundle, [one.counted for one in several]) if several else None


@router.get("/identify/together")
async def said_together(request: Request) -> HTMLResponse:
    """What is to be said of all pictures together, for the page's script."""
    return HTMLResponse(await run_in_threadpool(_together, request))


def _together(request: Request) -> Markup:
    several = _visit(request).by_newest()
    lapse = differs(several[0].ready.bundle, [one.part for one in several]) if several else None
    return part(request, "together.html.j2", lapse=lapse, shown_by=lapse and showing.differs_by(lapse.shown_by))


@router.post("/identify/{token}")
async def put_right(request: Request, token: str, do: Text = "correct", label: Text = "") -> Response:
    """Say what it shows, that the answer is right, or take it away."""
    visit = _visit(request)
    one = visit.of(token)
    if do == "remove":
        visit.drop(token)
        html = Markup("")
    else:
        known = one.ready.bundle
        own = showing.meant(label.strip(), known.taxonomy, known.classes) if do == "correct" else ""
        one.corrected = "" if own == one.answer.label else own
        one.checked = bool(own) or do == "right"
        html = _item(request, one)
    return HTMLResponse(html) if _PART in request.headers else RedirectResponse(f"/#asked-{token}", 303)


@router.post("/identify/{token}/again")
async def again(request: Request, token: str, model: Text = "", checkpoint: Text = BEST) -> Response:
    """The same pictures, another model; what a person said of them stays."""
    one = _visit(request).of(token)
    ready = await run_in_threadpool(site_of(request).models.asked, model, checkpoint)
    kept = ready.bundle.columns.keys() - {SET_BY_HAND}
    facts, known = {name: value for name, value in one.facts.items() if name in kept}, called(ready.bundle.attributes)
    if by_hand := {name: cell for name, cell in one.by_hand.items() if name.casefold() in known}:
        facts[SET_BY_HAND] = json.dumps(by_hand)
    one.answer, one.part = await _said(request, one, ready, facts, explain=one.answer.reasons is not None)
    one.ready, one.facts, one.before = ready, facts, None
    return HTMLResponse(_item(request, one)) if _PART in request.headers else RedirectResponse("/#results", 303)


@router.post("/identify/{token}/why")
async def why(request: Request, token: str, attribute: Text = "", value: Text = "") -> Response:
    """The reasons of an answer; and the answer that follows where an attribute is set to yes or no, or left as it is
    read again.
    """
    one = _visit(request).of(token)
    by_hand, facts = one.by_hand, {name: cell for name, cell in one.facts.items() if name != SET_BY_HAND}
    if attribute:
        by_hand = {name: cell for name, cell in by_hand.items() if name != attribute} | (
            {attribute: value} if value else {}
        )
    if by_hand:
        facts[SET_BY_HAND] = json.dumps(by_hand)
    made, one.part = await _said(request, one, one.ready, facts, explain=True)
    one.before = (one.before or one.answer) if by_hand else None
    one.answer, one.facts = made, facts
    return HTMLResponse(_item(request, one)) if _PART in request.headers else RedirectResponse(f"/#asked-{token}", 303)


async def _said(
    request: Request, one: Asked, ready: Ready, facts: dict[str, str], *, explain: bool
) -> tuple[Answer, Part]:
    """What a model says of pictures that were kept."""
    sent = [Sent(picture.name, await run_in_threadpool(picture.file.read_bytes)) for picture in one.pictures]
    wanted = replace(page_wants(ready, one.sure, one.only), explain=explain)
    (answer,), (made,) = await ask(site_of(request), ready, sent, wanted, [facts] * len(sent), together=True)
    return answer, made


@router.get("/identify/{token}/alike")
async def alike(request: Request, token: str) -> HTMLResponse:
    """The most similar training pictures of the answer and of the runner-up."""
    site, one = site_of(request), _visit(request).of(token)
    work = site.alike.of(one.ready)
    found: list[tuple[str, list[tuple[str, float]]]] = []
    if work.known is not None:
        data = [await run_in_threadpool(picture.file.read_bytes) for picture in one.pictures]
        features = await site.alike.features(one.ready, data)
        found = [
            (label, [(source(jpeg), cosine) for jpeg, cosine in work.known.nearest(features, label)])
            for label, _ in one.answer.top_k[:2]
        ]
    values: dict[str, Any] = {
        "one": one,
        "names": _names(one),
        "ready": work.over,
        "found": found,
        "done": work.done,
        "of": work.of or "…",
    }
    if _PART in request.headers:
        return HTMLResponse(part(request, "alike.html.j2", **values))
    return page(request, "alike_page.html.j2", here="identify", **values)


@router.get("/pictures/{token}")
async def picture(request: Request, token: str) -> FileResponse:
    """A small JPEG of a picture that this visitor sent."""
    return FileResponse(_visit(request).picture(token).small, media_type="image/jpeg")


def _visit(request: Request) -> Visit:
    return site_of(request).visits.find(visitor(request))


def _item(request: Request, one: Asked) -> Markup:
    answer = one.answer
    if one.corrected:
        answer = replace(answer, taxonomy=showing.ranks(one.ready.bundle.taxonomy, one.corrected))
    return part(
        request, "asked.html.j2", one=one, names=_names(one), how_sure=showing.how_sure(one.answer),
        attributes={name: in_words(name) for name in one.ready.bundle.attributes},
        drawn=lambda place: showing.drawn(answer, place),
    )  # fmt: skip


def _names(one: Asked) -> dict[str, showing.Named]:
    labels = [label for label, _ in one.answer.top_k] + [*(one.answer.prediction_set or ()), one.shows]
    labels += [one.before.label] if one.before else []
    labels += [one.answer.elsewhere[0]] if one.answer.elsewhere else []
    return showing.names(one.ready.bundle.taxonomy, dict.fromkeys(labels))


async def _page(request: Request, number: int, *, problem: str = "", status: int = 200) -> HTMLResponse:
    site, visit, chosen = site_of(request), _visit(request), request.session
    values = await run_in_threadpool(_choice, site, chosen.get("model", ""), chosen.get("checkpoint", BEST))
    every = visit.all()
    shown = every[(number - 1) * _ON_A_PAGE : number * _ON_A_PAGE]
    return page(
        request, "identify.html.j2", here="identify", status=status, problem=problem,
        results=[_item(request, one) for one in shown], count=len(every), current=number,
        together=await run_in_threadpool(_together, request),
        pages_of_results=-(-len(every) // _ON_A_PAGE), minutes=f"{site.settings.limits.idle_minutes:g}",
        **values,
    )  # fmt: skip


def _choice(site: Site, model: str, checkpoint: str) -> dict[str, Any]:
    """Who answers, and what it wants to know; `lost` says why that is not who was asked for."""
    lost, ready = "", None
    try:
        ready = site.models.asked(model, checkpoint)
    except (Refused, BadInput, MlflowException) as error:  # it was deleted since it was chosen, or its files were
        if site.models.choices():
            lost, ready, checkpoint = told(error), site.models.at_hand(), BEST
    if ready is None:
        return {"choice": None, "labels": (), "lost": lost}
    choice = ready.choice
    beside = [kind for member in ready.bundle.members for kind in member.spec.beside]
    kinds = [one for kind in beside if isinstance(kind, Metadata) for one in kind.encodings]
    return {
        "choice": choice, "lost": lost, "checkpoint": checkpoint, "models": _with(site.models.choices(), choice),
        "checkpoints": site.models.checkpoints(choice), "labels": ready.names[:_LABELS],
        "columns": {name: kind for name, kind in ready.bundle.columns.items() if name != SET_BY_HAND},
        "boxed": ready.bundle.looks_at_boxes, "classes": len(ready.bundle.classes),
        "listed": ready.bundle.taxonomy is not None,
        "choices": {kind.column: kind.names for kind in kinds if isinstance(kind, Category)},
    }  # fmt: skip


def _with(choices: list[Choice], choice: Choice) -> list[Choice]:
    """The choices, among them that which was made, which may be too old to be listed."""
    return choices if any(one.address == choice.address for one in choices) else [choice, *choices]


def _csv(table: pd.DataFrame, name: str) -> Response:
    text = io.StringIO()
    write_csv(table, text)
    return Response(
        text.getvalue().encode("utf-8-sig"), media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )  # fmt: skip
