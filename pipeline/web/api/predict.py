"""What is on pictures, for programs."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.beside.set_by_hand import once
from pipeline.serving.answers import Wanted
from pipeline.web.api.problems import problems
from pipeline.web.asking import Sent, ask, names_in
from pipeline.web.fetching import fetched
from pipeline.web.models import BEST
from pipeline.web.refusal import Refused
from pipeline.web.site import site_of
from pipeline.web.together import differs, how_many

router = APIRouter(prefix="/api", tags=["predict"])


class Labelled(BaseModel):
    """A label and how likely it is."""

    label: str
    probability: float


class Said(Labelled):
    """What is said of a picture, or of a specimen; `taxonomy`, `prediction_set` and `answered` where there are any."""

    model_config = ConfigDict(extra="allow")

    files: list[str] = Field(description="the pictures that it is said of, by the names that they were sent with")
    top_k: list[Labelled]


class Differs(BaseModel):
    """In what pictures differ from those that promises were made on."""

    p: float = Field(description="how often pictures from the same source would differ as much, at most")
    shown_by: str
    less_sure: bool = Field(description="whether the model is less sure of most of them")


class Counted(BaseModel):
    """How many there are of a class, corrected for what is taken for what, with its 95 % interval."""

    label: str
    answers: int
    estimate: float
    low: float
    high: float


class Predicted(BaseModel):
    """The answers, in the order of the pictures."""

    model: str = Field(description="who answered: a registered version, or a run")
    checkpoint: str
    answers: list[Said]
    differs: Differs | None = Field(
        None, description="where 20 or more pictures differ from val's, so that what was promised may not hold"
    )
    counts: list[Counted] | None = Field(None, description="with counts=true, the most frequent class first")


@router.post("/predict", summary="What is on pictures", responses=problems(400, 404, 409))
async def predict(
    request: Request,
    files: Annotated[
        list[UploadFile], File(description="pictures: JPEG, PNG, WebP, BMP or TIFF", default_factory=list)
    ],
    urls: Annotated[
        list[str],
        Form(description="addresses of pictures, on a server of allowed_hosts", max_length=50, default_factory=list),
    ],
    only: Annotated[
        list[str], Form(description="the classes, or taxa above them, that can be the answer", default_factory=list)
    ],
    model: Annotated[
        str | None, Form(description="NAME/VERSION, NAME@ALIAS or a run's id; the first of GET /api/models if left out")
    ] = None,
    epoch: Annotated[int | None, Form(description="one of its kept epochs; the best if left out", ge=1)] = None,
    facts: Annotated[
        str, Form(description="JSON: what is known beside the pictures, as {column: value}, or a list of such")
    ] = "{}",
    attributes: Annotated[
        str,
        Form(
            description='JSON: attributes that were set by hand, as {"red wing": "yes"}, or a list of such; see explain'
        ),
    ] = "{}",
    explain: Annotated[bool, Form(description="adds reasons: where it looked, what spoke for and against")] = False,
    together: Annotated[bool, Form(description="whether all pictures show one specimen, which has one answer")] = False,
    top_k: Annotated[int, Form(description="how many of the likeliest labels", ge=1, le=1000)] = 5,
    coverage: Annotated[
        float | None, Form(description="adds prediction_set, which holds the right label so often", gt=0, lt=1)
    ] = None,
    min_probability: Annotated[
        float, Form(description="adds answered: whether the label is so likely", ge=0, le=1)
    ] = 0,
    counts: Annotated[bool, Form(description="adds counts: how many there are of each class")] = False,
) -> Predicted:
    """An answer a picture, or one of all of them together."""
    site = site_of(request)
    sent = await Sent.of(files)
    sent += await run_in_threadpool(fetched, urls, site.settings)
    if not sent:
        raise Refused(400, "files: send at least one picture")
    if len(sent) > site.settings.limits.pictures:
        raise Refused(413, f"at most {site.settings.limits.pictures:,} pictures in a request (limits.pictures)")
    beside = _facts(facts, len(sent))
    given = zip(beside, _facts(attributes, len(sent), "attributes"), strict=True)
    beside = [one | ({SET_BY_HAND: by_hand} if by_hand else {}) for one, by_hand in given]
    ready = await run_in_threadpool(site.models.asked, model, BEST if epoch is None else f"epoch_{epoch}")
    named = tuple(name for text in only for name in names_in(text, ready.bundle.called))
    wanted = Wanted(
        top_k=top_k, coverage=coverage, min_probability=min_probability, only=named, explain=explain,
    )  # fmt: skip
    said, parts = await ask(site, ready, sent, wanted, beside, together=together)
    names = [[one.name for one in sent]] if together else [[one.name] for one in sent]
    lapse = await run_in_threadpool(differs, ready.bundle, parts)
    table = await run_in_threadpool(how_many, ready.bundle, parts) if counts else None
    return Predicted(
        model=ready.choice.address, checkpoint=ready.checkpoint,
        answers=[Said(files=some, **one.to_dict()) for some, one in zip(names, said, strict=True)],
        differs=None if lapse is None else Differs(**lapse._asdict()),
        counts=None if table is None else [Counted(**row) for row in table.to_dict("records")],
    )  # fmt: skip


def _facts(text: str, pictures: int, key: str = "facts") -> list[dict[str, Any]]:
    """What is known beside each picture. Refused for what is no such JSON."""
    try:
        given = json.loads(text or "{}", object_pairs_hook=once, parse_constant=str)  # NaN is no number here
    except (ValueError, RecursionError):
        raise Refused(400, f"{key}: that is no JSON") from None
    each = given if isinstance(given, list) else [given] * pictures
    plain = (str, int, float, bool, type(None))
    if any(not isinstance(one, dict) or any(not isinstance(cell, plain) for cell in one.values()) for one in each):
        raise Refused(400, f'{key}: say {{"name": value}}, or a list of such, one a picture')
    if len(each) != pictures:
        raise Refused(400, f"{key}: {len(each)} for {pictures} pictures")
    return each
