"""Which models there are, and what is known of each, for programs."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from mlflow import MlflowClient
from pydantic import BaseModel, Field

from pipeline.reporting.shown_paths import without_paths
from pipeline.serving.figures import figures
from pipeline.tracking.selection import find_run
from pipeline.web.api.problems import problems
from pipeline.web.models import Choice
from pipeline.web.site import site_of

router = APIRouter(prefix="/api", tags=["models"])


class Listed(BaseModel):
    """A registered version, or a finished training that nobody has promoted."""

    address: str = Field(description="how POST /api/predict is told of it")
    name: str
    registered: bool
    aliases: list[str]
    run_id: str | None
    made: int = Field(description="milliseconds since 1970")
    val_accuracy: float | None = None


class Share(BaseModel):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Measured(BaseModel):
    """Of so many pictures of a split."""

    split: str
    pictures: int
    shares: dict[str, Share]
    plain: dict[str, float]


class Described(Listed):
    """What is known of one."""

    checkpoints: list[str] = Field(description="its kept epochs")
    classes: list[str]
    columns: dict[str, str] = Field(description="what it reads beside a picture, with its types")
    attributes: list[str] = Field(description="what it reads of a picture, and what may be set by hand")
    figures: list[Measured]
    description: str


@router.get("/models", summary="Models and trainings that can answer", responses=problems())
def models(request: Request) -> list[Listed]:
    """The first is who answers where no model is named."""
    site = site_of(request)
    first = site.models.first()
    others = [one for one in site.models.choices() if first is None or one.address != first.address]
    return [_listed(one) for one in ([] if first is None else [first]) + others]


@router.get("/models/{name}/{version}", summary="What is known of a model", responses=problems(404))
def model(
    request: Request,
    name: Annotated[str, Path(description="of a registered model; `runs` for a training")],
    version: Annotated[str, Path(description="its number; the id of a training's run")],
) -> Described:
    """Its classes, what it reads, how good it is and on which pictures."""
    known = site_of(request).models
    choice = known.find(version if name == "runs" else f"{name}/{version}")
    bundle = known.load(choice).bundle
    run = None if choice.run_id is None else find_run(MlflowClient(), choice.run_id)
    measured = [
        Measured(
            split=one.split, pictures=one.pictures, plain=one.plain,
            shares={key: Share(value=of.value, low=of.low, high=of.high) for key, of in one.shares.items()},
        )
        for one in (figures(run) if run else [])
    ]  # fmt: skip
    return Described(
        **_listed(choice).model_dump(), checkpoints=known.checkpoints(choice), classes=list(bundle.classes),
        columns=bundle.columns, attributes=list(bundle.attributes), figures=measured,
        description=without_paths(choice.version.description or "") if choice.version else "",
    )  # fmt: skip


def _listed(choice: Choice) -> Listed:
    return Listed(
        address=choice.address, name=choice.name, registered=choice.version is not None,
        aliases=list(choice.aliases), run_id=choice.run_id, made=choice.made, val_accuracy=choice.val_accuracy,
    )  # fmt: skip
