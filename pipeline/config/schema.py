"""The closed schema of every command's composed config: which keys there are, and what may stand under them.

`conf/` holds the answers and their comments; here stand types and bounds. A key that is not here is refused.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.common.errors import did_you_mean
from pipeline.common.names import checked_alias, safe_name
from pipeline.config.keys import CONF, RUNS_OWN_TAGS

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def _no_truth_value(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("should be a number")  # noqa: TRY004 - what pydantic takes for a wrong answer
    return given


Count = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=1, lt=2**31)]
Rate = Annotated[float, BeforeValidator(_no_truth_value), Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _pixels_or_auto(given: object) -> object:
    whole = isinstance(given, int) and not isinstance(given, bool) and 1 <= given < 2**31
    if given != "auto" and not whole:
        raise ValueError("should be a number of pixels, 1 or more, or auto: the size that the weights are for")
    return given


def _listed(given: object) -> object:
    """`a.csv` and `[a.csv, b.csv]`, which as a path was kept from Hydra's grammar."""
    if isinstance(given, str):
        inner = given[1:-1].split(",") if given.startswith("[") and given.endswith("]") else [given]
        return [one.strip() for one in inner if one.strip()]
    return given


# Paths, one or several.
Files = Annotated[list[str], BeforeValidator(_listed)]

ImageSize = Annotated[int | Literal["auto"], BeforeValidator(_pixels_or_auto)]

# What NumPy's and PyTorch's generators take alike.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _seconds(given: object) -> object:
    if given is None or isinstance(given, float):  # as a stored config has it
        return given
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h|d)", str(given))
    if not found or not float(found[1]):
        raise ValueError("should be a time with its unit: 90s, 30min, 2h or 1d")
    return float(found[1]) * units[found[2]]


# A time that is typed with its unit, in seconds.
Time = Annotated[float | None, BeforeValidator(_seconds)]

# A tag is text; a number or a truth value typed for one is as good as its text.
Text = Annotated[str, BeforeValidator(lambda given: str(given).lower() if isinstance(given, bool) else given)]

Strategy = Literal["hard_vote", "soft_vote", "weighted_soft_vote", "greedy", "stacking", "class_stacking", "soup"]


def _of_val(metric: str) -> str:
    if re.search(r"(^|[/_])test([/_]|$)", metric):
        raise ValueError("test decides nothing, or its figures would flatter; choose by val: best/val_accuracy, ...")
    return metric


# The metric that runs are chosen by.
Decisive = Annotated[str, AfterValidator(_of_val)]

# The address of a model, models:/NAME@ALIAS (see `door.quote_address`).
Address = Annotated[str, BeforeValidator(lambda given: given["address"] if isinstance(given, dict) else given)]


def _one_of(group: str) -> AfterValidator:
    """The name of an answer that `conf/` has to a group."""

    def check(name: str) -> str:
        known = sorted(file.stem for file in (CONF / group).glob("*.yaml") if file.stem != "base")
        if name not in known:
            raise ValueError(f"no such {group}{did_you_mean(name, known)}")
        return name

    return AfterValidator(check)


class Section(BaseModel):
    """A part of a config: closed, and unchangeable once it is read."""

    # A class may be called 0: a number is as good as its text where text is wanted.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), coerce_numbers_to_str=True)


# Whom networks are asked through on a processor, where nothing learns.
Engine = Literal["auto", "torch", "onnxruntime"]

BoxUnit = Literal["pixels", "shares"]


class Split(Section):
    """Which pictures are held out."""

    val: Fraction
    test: Fraction
    seed: Seed
    group: str | None
    folds: Annotated[int, Field(ge=2)] | None
    fold: Annotated[int, Field(ge=0)]
    file: str | None
    save: str | None


def _attributes(given: object) -> object:
    """`true` and `false`, which CUB had first, are its pictures' attributes as columns, and none."""
    return {"true": "picture", "false": None}.get(str(given).lower(), given)


class Pictures(Section):
    """What every data set's config has."""

    name: str
    root: str | None
    image_size: ImageSize
    fit: Literal["squash", "crop", "pad"]
    normalise: Literal["weights", "imagenet", "none"]
    classes: int | list[str] | None
    unseen: Annotated[float, BeforeValidator(_no_truth_value), Field(gt=0, lt=1)] | list[str] | None
    small_classes: Literal["raise", "drop", "train_only"]
    fraction: Annotated[float, Field(gt=0, le=1)]
    per_class: Count | None
    bootstrap: Seed | None
    licence: Text | None
    taxonomy: str | None
    attributes: Annotated[str | None, BeforeValidator(_attributes)]
    from_path: str | None
    beside: Files
    metadata: list[str]
    boxes: str | None
    box_columns: Annotated[list[str], Field(min_length=4, max_length=4)]
    box_unit: BoxUnit
    box_confidence: Share
    crop: Literal["none", "box", "square"]
    crop_margin: NotNegative
    split: Split
    on_unreadable: Literal["raise", "skip"]
    cache: Literal["none", "memory", "disk"]
    cache_gb: NotNegative


class Digits(Pictures):
    """scikit-learn's digits."""

    source: Literal["digits"]


class Folder(Pictures):
    """Folders of pictures."""

    source: Literal["folder"]
    label_depth: Count | None = None


class Table(Pictures):
    """A CSV, TSV or Parquet file."""

    source: Literal["table"]
    file: str
    path_column: str
    label_column: str
    split_column: str | None
    encoding: str | None


class INat2021(Pictures):
    """iNaturalist 2021."""

    source: Literal["inat2021"]
    train: str
    val: str | None
    categories: str | None


class CUB200(Pictures):
    """Caltech-UCSD Birds-200-2011."""

    source: Literal["cub200"]


class Lists(Pictures):
    """Text files of `path label [location]`."""

    source: Literal["lists"]
    lists: str | None
    labels_from: Literal[0, 1] | None = None
    locations_from: Literal[0, 1] | None = None


class CameraTraps(Pictures):
    """Camtrap DP, COCO Camera Traps, MegaDetector's JSON."""

    source: Literal["camera_traps"]
    file: str
    rows_of: Literal["pictures", "animals"]


class Shards(Pictures):
    """Tar files of pictures."""

    source: Literal["shards"]
    label_field: str


# The pictures: each source has its own keys beside those that all share.
Data = Annotated[
    Digits | Folder | Table | INat2021 | CUB200 | Lists | CameraTraps | Shards, Field(discriminator="source")
]


class Model(Section):
    """The network, and where its weights come from; or several, `join`, which `name` then lists and no more."""

    join: list[Annotated[str, _one_of("model")]]
    join_weights: dict[str, str]
    name: str
    weights: str
    weights_file: str | None

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_parts(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("join"), list) and given["join"]:
            return given | {"name": "+".join(map(str, given["join"])), "weights": "DEFAULT", "weights_file": None}
        return given

    @field_validator("join")
    @classmethod
    def _several(cls, join: list[str]) -> list[str]:
        if len(join) == 1:
            raise ValueError(f"one network alone is model={join[0]}; name two or more")
        for name in join:
            if join.count(name) > 1:
                raise ValueError(f"{name} is named twice, which adds nothing; name each network once")
        return join

    @field_validator("join_weights")
    @classmethod
    def _of_those_joined(cls, files: dict[str, str], facts: ValidationInfo) -> dict[str, str]:
        join = facts.data.get("join", files)
        for name in files:
            if name not in join:
                raise ValueError(f"{name} is not in model.join{did_you_mean(name, join)}")
        return files

    @field_validator("name")
    @classmethod
    def _says_the_library(cls, name: str | None, facts: ValidationInfo) -> str | None:
        if name and not facts.data.get("join", True) and not re.fullmatch(r"(torchvision|timm)/.+", name):
            raise ValueError(f"say which library's network it is: torchvision/{name} or timm/{name}")
        return name


class AnyModel(Model):
    """A network, or none."""

    name: str | None  # type: ignore[assignment]  # the one key that `models` may leave open; all others are Model's


class Layers(Section):
    """Linear layers on the backbone's features."""

    name: Literal["linear", "mlp", "flatten"]
    hidden: list[Annotated[Count, Field(le=1_000_000)]]
    dropout: Fraction


class LogisticRegression(Section):
    """Fitted to features."""

    name: Literal["logistic"]
    C: Rate | Literal["auto"]  # what is told of a wrong number is the first's


class Concepts(Section):
    """Attributes, and the class from them."""

    name: Literal["concepts"]
    C: Rate | Literal["auto"]
    residual: bool = False
    agreement: NotNegative = 0.0
    rules: str | None = None
    attribute_loss: NotNegative = 1.0


class Prototype(Section):
    """Class means."""

    name: Literal["prototype"]


class Neighbours(Section):
    """The nearest training pictures."""

    name: Literal["knn"]
    k: Count | Literal["auto"]


class Estimator(Section):
    """One of scikit-learn's classifiers; `options` go to its constructor."""

    name: Literal["sklearn"]
    estimator: str
    options: dict[str, Any]


class Pretrained(Section):
    """The network's own classifier."""

    name: Literal["pretrained"]
    mapping: str | None


class Texts(Section):
    """The classes' names, as texts."""

    name: Literal["text"]
    templates: Annotated[list[str], Field(min_length=1)]


# Those that `head=` chooses from, by name; their keys are the arguments of the head's class.
Head = Annotated[
    Layers | LogisticRegression | Concepts | Prototype | Neighbours | Estimator | Pretrained | Texts,
    Field(discriminator="name"),
]


def _what_trains(given: str) -> str:
    if not re.fullmatch(r"all|head|last:[1-9]\d{0,8}", given):
        raise ValueError("should be all, head, or last:2: the head and the last two blocks below it")
    return given


class Regime(Section):
    """How the network starts, and what of it trains."""

    name: str
    weights: Literal["none", "pretrained"]
    trains: Annotated[str, AfterValidator(_what_trains)]
    head_epochs: Annotated[int, Field(ge=0)]
    head_lr: Rate
    backbone_lr: Annotated[float, Field(ge=0)]
    batchnorm: Literal["free", "frozen"]
    views: Annotated[int, Field(ge=0)]
    lr: dict[Annotated[str, _one_of("optimizer")], Rate]


class Metadata(Section):
    """What comes beside a picture, and how the head is given it."""

    name: Annotated[str, _one_of("metadata")]
    scale: Literal["auto"] | Rate
    dropout: Fraction


class Augmentation(Section):
    """Random changes to training pictures; `options` go to the recipe of that name."""

    name: Annotated[str, _one_of("augmentation")]
    options: dict[str, Any]


# An optimizer's name is that of its class in torch.optim, in lower case; its keys are the arguments.
class SGD(Section):
    """torch.optim.SGD."""

    name: Literal["sgd"]
    lr: Rate
    momentum: Fraction
    nesterov: bool
    weight_decay: NotNegative

    @model_validator(mode="after")
    def _has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("optimizer.nesterov needs an optimizer.momentum above 0, such as 0.9")
        return self


class Adam(Section):
    """torch.optim.Adam and AdamW."""

    name: Literal["adam", "adamw"]
    lr: Rate
    betas: tuple[Fraction, Fraction]
    eps: Rate
    amsgrad: bool
    weight_decay: NotNegative


# Those that `optimizer=` chooses from, by name.
Optimizer = Annotated[SGD | Adam, Field(discriminator="name")]


class Scheduler(Section):
    """How the learning rate moves; what a shape does not use is left out of its file."""

    name: Annotated[str, _one_of("scheduler")]
    warmup_epochs: NotNegative
    step_epochs: Count | None = None
    milestones: list[Annotated[float, Field(gt=0, lt=1)]] | None = None
    gamma: Rate | None = None
    min_factor: Share | None = None
    patience: Annotated[int, Field(ge=0)] | None = None


# One weight a class, which a loss of `class_weights` is given as a tensor `weight`.
ClassWeights = Literal["balanced"] | list[Rate] | dict[str, Rate]


# A loss says in `builds` what makes it; its keys are the arguments.
class CrossEntropy(Section):
    """torch.nn.CrossEntropyLoss."""

    builds: ClassVar[str] = "torch.nn:CrossEntropyLoss"
    name: Literal["cross_entropy", "weighted"]
    label_smoothing: Fraction
    gamma: None = None  # stored configs have it
    class_weights: ClassWeights | None = None


class Focal(Section):
    """Cross-entropy in which what is already right counts less."""

    builds: ClassVar[str] = "pipeline.training.losses:FocalLoss"
    name: Literal["focal"]
    label_smoothing: Fraction
    gamma: NotNegative | None = None
    class_weights: ClassWeights | None = None


# Those that `loss=` chooses from, by name.
Loss = Annotated[CrossEntropy | Focal, Field(discriminator="name")]


class Trainer(Section):
    """The loop and the hardware."""

    epochs: Count
    batch_size: Count
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    accelerator: str
    devices: Annotated[Count, Field(le=1024)]
    nodes: Annotated[Count, Field(le=1024)]
    num_workers: Annotated[int, Field(ge=0)] | None
    channels_last: bool
    compile: bool
    clip_norm: Rate | None
    accumulate: Count
    patience: Count | None
    limit_batches: Count | None
    checkpoint_minutes: NotNegative
    keep_epochs: list[Count]
    refit: bool
    threads: Annotated[Count, Field(le=1024)] | None
    engine: Engine
    feature_cache_gb: NotNegative
    time_budget: Time


class Tracking(Section):
    """Where the story of a run is kept."""

    experiment: str
    run_name: str | None
    required: bool
    unsent_gb: NotNegative
    keep_weights: Literal["all", "best", "none"]
    coarsen_places: NotNegative
    heat_maps: bool
    tags: dict[str, Text]

    @field_validator("experiment")
    @classmethod
    def _safe(cls, name: str) -> str:
        return safe_name(name)

    @field_validator("tags")
    @classmethod
    def _own(cls, tags: dict[str, str]) -> dict[str, str]:
        for name in tags:
            if name in RUNS_OWN_TAGS or name.startswith(
                ("mlflow.", "machine.", "version.", "data.", "verdict.", "process.", "found_by.", "carried.")
            ):
                raise ValueError(f"{name} is a tag that the program sets itself: choose another name")
            if not re.fullmatch(r"[\w\-. /:]{1,250}", name):
                raise ValueError(f"{name!r} is no name that MLflow takes: letters, digits and _ - . / : are")
        return tags


class Command(Section):
    """What every command's config shares."""


class Train(Command):
    """`python -m pipeline.train`."""

    seed: Seed
    resume: Annotated[str, BeforeValidator(lambda given: given or "never")]  # null, as earlier versions had it
    estimate: bool
    data: Data
    model: Model
    head: Head
    regime: Regime
    augmentation: Augmentation
    metadata: Metadata
    optimizer: Optimizer
    scheduler: Scheduler
    loss: Loss
    trainer: Trainer
    tracking: Tracking


class Selection(Section):
    """Which runs a command looks at."""

    experiment: str | None


class Drawn(Selection):
    """Which runs a command looks at, and whether the pages of their mistakes show where they looked."""

    heat_maps: bool


class OwnRun(Selection):
    """Which runs a command looks at, and the name of the run that it adds to them."""

    run_name: str | None


class Ensemble(Command):
    """`python -m pipeline.ensemble`."""

    tracking: OwnRun
    sweep: str | None
    filter: str | None
    best: Annotated[int, Field(ge=2)] | None
    metric: Decisive
    runs: list[str] | None
    strategies: list[Strategy]
    choose: Literal["val"] | Strategy


class Licence(Section):
    """Under which licence pictures are, of a run that was made before anybody said."""

    licence: Text | None


class Promote(Command):
    """`python -m pipeline.promote`."""

    tracking: Selection
    data: Licence
    sweep: str | None
    run: str | None
    metric: Decisive
    alias: Annotated[str, AfterValidator(checked_alias)]
    group: Text | None


class Answers(Section):
    """What the answers of `predict` are to hold to."""

    error: Annotated[float, Field(gt=0, lt=1)] | None
    known_sent_away: Annotated[float, Field(gt=0, lt=1)] | None
    only: str | list[str] | dict[str, str | list[str]] | None
    region: Text | None


class Asking(Command):
    """What is common to commands that ask a finished model about pictures of which nothing is known."""

    images: str | None
    beside: str | None
    attributes: str | None
    boxes: str | None
    box_unit: BoxUnit
    box_confidence: Share
    model: Address | None
    tracking: Selection
    output: str
    batch_size: Count
    on_unreadable: Literal["raise", "skip"]


class Predict(Asking):
    """`python -m pipeline.predict`."""

    top_k: Count
    coverage: Annotated[float, Field(gt=0, lt=1)] | None
    min_probability: Share
    answers: Answers
    explain: bool
    counts: bool
    group: Text | None
    folders: str | None
    folders_by: Literal["copy", "link"]
    corrected: str | None
    also: list[Literal["megadetector", "darwin_core", "camtrap_dp"]]
    camtrap_dp: str | None
    engine: Engine


class Explain(Asking):
    """`python -m pipeline.explain`."""

    run: str | None
    method: Literal["gradcam", "integrated_gradients", "occlusion"]
    label: str | None
    layers: Annotated[int, Field(ge=0)]


class Export(Command):
    """`python -m pipeline.export`."""

    run: str | None
    model: Address | None
    tracking: Selection
    output: str
    form: Literal["onnx", "release", "huggingface", "animl", "addaxai"]
    licence: Text | None
    precision: Literal["fp32", "int8"]
    opset: Count
    pictures: Count
    lost: Share


class Look(Section):
    """How closely `explore` looks."""

    pictures: Count | None
    samples: Annotated[int, Field(ge=0, le=500)]
    near: Annotated[int, Field(ge=0, le=8)]
    features: str | None
    near_cosine: Annotated[float, Field(gt=0, le=1)]
    num_workers: Annotated[int, Field(ge=0)] | None


class Explore(Command):
    """`python -m pipeline.explore`. `regime` and `augmentation` are what a data set suggests for training."""

    data: Data
    explore: Look
    regime: Regime
    augmentation: Augmentation
    tracking: Tracking


class Taxonomy(Command):
    """`python -m pipeline.taxonomy`. `regime` and `augmentation` are what a data set suggests for training."""

    data: Data
    checklist: Files
    output: str
    online: bool
    gbif: str
    regime: Regime
    augmentation: Augmentation


class Comparing(Command):
    """What is common to commands that set finished runs side by side."""

    tracking: Selection
    sweep: str | None
    runs: list[str] | None
    leaders: Annotated[int, Field(ge=2)]
    output: str


class Compare(Comparing):
    """`python -m pipeline.compare`."""

    tracking: Drawn


class Report(Comparing):
    """`python -m pipeline.report`."""


class Scoring(Section):
    """How pictures are shown and answers judged."""

    tta: Literal["none", "flips", "tencrop"]
    group: str | None
    coverage: Annotated[float, Field(gt=0, lt=1)]
    error: Annotated[float, Field(gt=0, lt=1)]
    known_sent_away: Annotated[float, Field(gt=0, lt=1)]
    unknown_classes: Literal["raise", "ask"]


class Runner(Section):
    """The hardware of a command that only asks networks."""

    batch_size: Count
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    accelerator: str
    num_workers: Annotated[int, Field(ge=0)] | None
    engine: Engine


class Evaluate(Command):
    """`python -m pipeline.evaluate`. `regime` and `augmentation` are what a data set suggests for training."""

    tracking: Drawn
    run: str | None
    model: Address | None
    checkpoint: str
    data: Data | None = None
    split: Literal["train", "val", "test", "all"] | None
    evaluation: Scoring
    trainer: Runner
    regime: Regime
    augmentation: Augmentation


class Sync(Command):
    """Runs sent, or carried, to a store."""

    source: str | None
    target: str | None


class Place(Section):
    """Where pictures lie."""

    root: str | None


class Reproduce(Command):
    """`python -m pipeline.reproduce`."""

    run: str | None
    code: Literal["own", "here"]
    data: Place
    output: str | None


class Models(Command):
    """`python -m pipeline.models`."""

    model: AnyModel
    image_size: ImageSize


class Embed(Train):
    """`python -m pipeline.embed`: what a training with a frozen backbone would ask of it, and what is shown of that."""

    output: str
    neighbours: Count
    near: Annotated[float, Field(gt=0, le=1)]
    map: Literal["auto", "pca", "umap"]
    neighbours_of: str | None


class Search(Section):
    """What is searched, by what, and how the winner is confirmed."""

    space: list[str]
    trials: Count
    objective: Decisive
    sampler: Literal["tpe", "random", "grid"]
    pruner: Literal["median", "halving", "hyperband", "none"]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    confirm: Annotated[int, Field(ge=0, le=1000)]


class Tune(Train):
    """`python -m pipeline.tune`: what all its trainings share, and the search."""

    tune: Search


class PageLimits(Section):
    """How much a visitor of the page may ask for."""

    request_mb: Count
    megapixels: Count
    pictures: Count
    visitors: Count
    idle_minutes: Rate
    requests: Count


class App(Command):
    """`python -m pipeline.app`."""

    host: str
    port: Annotated[int, Field(ge=0, lt=2**16)]
    password: Text | None
    folders: Files
    model: Address | None
    tracking: Selection
    allowed_hosts: list[str]
    train: bool
    limits: PageLimits


COMMANDS: tuple[type[Command], ...] = (
    Train,
    Ensemble,
    Promote,
    Predict,
    Explain,
    Export,
    Explore,
    Compare,
    Evaluate,
    Sync,
    Reproduce,
    Report,
    Taxonomy,
    Models,
    Embed,
    Tune,
    App,
)


def keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a schema."""
    found = []
    for name, field in schema.model_fields.items():
        found.append(prefix + name)
        for part in _sections(field.annotation):
            found += keys(part, f"{prefix}{name}.")
    return found


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for option in getattr(annotation, "__args__", ()) for part in _sections(option)]
