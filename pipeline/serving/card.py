"""What a registered model says of itself: Markdown for people, under a head that programs read (a model card).

The form is the Hugging Face hub's; what is said follows Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote

import numpy as np
from huggingface_hub import EvalResult, ModelCardData
from mlflow.entities import Run

from pipeline.common.names import safe_name
from pipeline.common.wording import counted, duration, first_few, percent
from pipeline.evaluation.confusion import most_confused
from pipeline.evaluation.statistics import interval_of_share
from pipeline.models.pretraining import networks_of, pretraining
from pipeline.reporting.shown_paths import without_paths
from pipeline.reporting.tables import Table
from pipeline.serving.figures import Figures, measured
from pipeline.serving.from_run import Assembled
from pipeline.tracking.finished import TEST_LOOKS, minutes, trained_by_class, trained_on

FILE = "README.md"  # among a served model's files, as the hub has it
_NAMED, _LONGEST_NAME = 30, 60  # classes, and letters of a class's name
_LONGEST = 5000  # characters: more is no description to MLflow's database
_WEAKEST, _CONFUSED = 10, 5
_CALLED = {
    "accuracy": "accuracy", "top5_accuracy": "true class among the five likeliest", "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
}  # fmt: skip
_SPLITS = {"test": "test", "val": "val, on which it was chosen"}


@dataclass(frozen=True)
class Card:
    """A model card: the `head` for programs, and `parts` of Markdown, the most telling first."""

    head: ModelCardData
    parts: list[str]

    @property
    def text(self) -> str:
        """The whole of it, as a file."""
        return f"---\n{self.head.to_yaml()}\n---\n\n" + "\n\n".join(self.parts) + "\n"

    @property
    def description(self) -> str:
        """The parts that MLflow has room for."""
        more = f"More is in the card: `{FILE}` among the files of the logged model, in `artifacts/served`."
        kept, room = [], _LONGEST - len(more)
        for part in self.parts:
            if len(part) + 2 <= room:
                kept.append(part)
                room -= len(part) + 2
        return "\n\n".join([*kept, more] if len(kept) < len(self.parts) else kept)


def model_card(run: Run, made: Assembled, address: str, licence: str | None = None) -> Card:
    """The card of a run's model, from what the run left; `licence` is that of the pictures, where the run has none.

    Of a run that another version of this program made, what it does not tell is left out.
    """
    tags, params = run.data.tags, run.data.params
    networks = f"an ensemble of {made.networks} networks" if made.networks > 1 else tags.get("model", "a network")
    name = tags.get("data") or params.get("data.name", "?")
    found = measured(made.answered, made.figures)
    licence = licence or licence_of(run, made)
    parts = {
        "": f"**{networks}**, {counted(len(made.classes), 'class')}, trained on `{name}` (run `{run.info.run_id}`).",
        "How good it is": _how_good(run, found),
        "Ask it": _ask(address),
        "What it is for, and what not": _use(made),
        "Probabilities and promises": _listed(_promises(run, made)),
        "Where it is weak": _weak(run, made, found),
        "What its weights had seen before": _listed(pretraining(one.data.params for one in made.trainings)),
        "Pictures": _listed(_pictures(run, made, name, licence)),
        "How it was made": _listed(_making(run, made)),
        "Classes": _classes(made.classes),
    }
    texts = [f"## {title}\n\n{text}" if title else text for title, text in parts.items() if text]
    return Card(_head(run, made, found, address, licence), texts)


def licence_of(run: Run, made: Assembled) -> str | None:
    """Under which licence the pictures are, as somebody said when the run, or an ensemble's members, were trained."""
    said = {one.data.params.get("data.licence", "None") for one in (run, *made.trainings)} - {"None", ""}
    return "; ".join(sorted(said)) or None


def _ask(address: str) -> str:
    asked = f"`python -m pipeline.predict images=FOLDER {quote(f'model={address}')}`"
    if not address.startswith("models:/"):  # a file
        return f"{asked}."
    return f"{asked}, or `mlflow models serve -m {quote(address)} --env-manager local -p 5001`."


def _how_good(run: Run, found: list[Figures]) -> str:
    rows = [
        [_SPLITS[one.split], _CALLED[name], percent(share.value), f"{percent(share.low)} to {percent(share.high)}",
         f"{one.pictures:,}"]
        for one in found for name, share in one.shares.items()
    ]  # fmt: skip
    if not rows:
        return ""
    lines = [Table(["pictures", "figure", "value", "95 % interval", "n"], rows).markdown()]
    notes = [
        f"Always answering the most frequent class would be right in {percent(one.plain['majority_accuracy'])} of "
        f"{one.split}." for one in found[:1]
    ]  # fmt: skip
    if (looks := int(run.data.tags.get(TEST_LOOKS, 0))) > 0:
        notes.append(f"The figures of test were looked at {counted(looks, 'time')} after training.")
    if refit := run.data.tags.get("refit"):
        notes.append(f"Fitted once more {refit}; calibration and promises too.")
    for metric, how in (("data/leaks", "were also in"), ("data/near_leaks", "look like a copy of one in")):
        if leaks := int(run.data.metrics.get(metric, 0)):
            notes.append(f"{counted(leaks, 'picture')} of one split {how} another: the figures look too good.")
    return "\n\n".join([*lines, " ".join(notes)])


def _use(made: Assembled) -> str:
    columns = {
        one.data.params.get("data.metadata", "[]") for one in made.trainings if made.trainings
    } - {"[]", "None", ""}  # fmt: skip
    beside = f" It was also given {', '.join(sorted(columns))} beside the picture, and is weaker without." * bool(
        columns
    )
    return (
        f"It proposes which of its {counted(len(made.classes), 'class')} a photograph shows, for people who look "
        "through what it says: to sort new pictures that were taken as its training pictures were, and to find those "
        f"worth a second look.{beside}\n\n"
        "It answers with one of its classes to any picture, also to one of none of them: `unknown`, `min_probability` "
        "and `coverage` say how sure it is. It has not been measured on pictures of other places, cameras or seasons "
        "than those of its test pictures. No decision that harms if it is wrong (what may be eaten, what may be "
        "killed, what is there for the first time) should rest on it alone."
    )


def _promises(run: Run, made: Assembled) -> list[str]:
    figures, n, lines = made.figures, len(made.answered.get("test", ())), []
    if "test/ece_calibrated" in figures:
        lines.append(
            f"Probabilities are calibrated on val (temperature {made.calibration.temperature:.2f}); on test they are "
            f"off by {percent(figures['test/ece_calibrated'])} in the mean ({percent(figures['test/ece'])} before)."
        )
    for name, value in figures.items():
        kind, _, asked = name.rpartition("_")
        found = interval_of_share(np.arange(n) < round(value * n)) if n else None
        measured_on = f"{percent(value)} of test" + (
            f" [{percent(found.low)}, {percent(found.high)}; n = {n:,}]" if found else ""
        )
        if kind == "test/coverage":
            lines.append(
                f"`coverage={float(asked) / 100:g}`: sets promised to hold the right class in {asked} % of pictures "
                f"did so in {measured_on}, with {figures[f'test/set_size_{asked}']:.1f} classes each."
            )
        elif kind == "test/rank_error":
            lines.append(
                f"`taxon`: at most {asked} % of answers at the rank that is sure are promised to be wrong; "
                f"{measured_on} were, and {percent(figures[f'test/rank_full_{asked}'])} named the class."
            )
        elif kind == "test/known_sent_away":
            lines.append(
                f"`unknown`: at most {asked} % of pictures of its classes are promised to be called so; {measured_on} "
                "were."
            )
    if lines:
        lines.append(
            "They lapse for pictures that are not like those of val: another camera, light or compression, other "
            "species, or the same in other numbers; also with `answers.only`, and for pictures changed before they are "
            "asked about. `predict` says so of a folder of 20 or more pictures where it can tell. A newer version has "
            "promises of its own."
        )
    return lines


def _weak(run: Run, made: Assembled, found: list[Figures]) -> str:
    if not found:
        return ""
    shown, trained = found[0], trained_by_class(made.trainings[0]) if made.trainings else {}
    classes = shown.classes[shown.classes["share"] < 1].head(_WEAKEST)
    rows = [
        [_as_code(one["label"]), f"{one['right']:,} of {one['pictures']:,}", percent(one["share"], 0),
         f"{percent(one['low'], 0)} to {percent(one['high'], 0)}", f"{trained.get(one['label'], 0) or ''}"]
        for one in classes.to_dict("records")
    ]  # fmt: skip
    if not rows:
        return f"It was right about every picture of {shown.split}."
    heads = ["class", f"right on {shown.split}", "share", "95 % interval", "trained on"]
    text = f"The classes that it knows least, by {shown.split}:\n\n{Table(heads, rows).markdown()}"
    pairs = [
        f"{_as_code(one['true'])} for {_as_code(one['predicted'])} ({one['pictures']:,} of its pictures, "
        f"{percent(one['share'], 0)})"
        for one in most_confused(made.answered[shown.split], _CONFUSED).to_dict("records")
    ]
    text += f"\n\nTaken for another most often: {'; '.join(pairs)}."
    if lacking := len(made.classes) - len(shown.classes):
        text += f" Of {counted(lacking, 'class')} {shown.split} has no picture: nothing is known of these."
    return text


def _pictures(run: Run, made: Assembled, name: str, licence: str | None) -> Iterator[str]:
    first = made.trainings[0] if made.trainings else run
    params, metrics = first.data.params, first.data.metrics
    counts = {"train": trained_on(first)} | {split: len(one) for split, one in made.answered.items()}
    said = ", ".join(f"{n:,} {split}" for split, n in counts.items() if n)
    yield f"`{name}`: {counted(len(made.classes), 'class')}" + (f"; pictures: {said}." if said else ".")
    if "data.split.seed" in params:
        yield f"Split: {_split(params)}. The run's `split.csv` says where each picture was."
    if size := params.get("data.image_size"):
        yield f"It sees them at {size} x {size} pixels (`data.fit={params.get('data.fit', 'squash')}`), as in training."
    yield (
        f"Licence of the pictures: {licence}."
        if licence
        else "Licence of the pictures: nobody has said; say it with `data.licence=...` when training, or when "
        "promoting again."
    )
    for metric, said in (
        ("skipped_pictures", "could not be read and were left out"),
        ("data/unlisted", "lay in the folder and were in no list"),
    ):
        if count := int(metrics.get(metric, 0)):
            yield f"{counted(count, 'picture')} {said}."
    if digest := run.data.tags.get("data_digest"):
        yield f"Data digest: `{digest}`"


def _split(params: dict[str, str]) -> str:
    given = {key.removeprefix("data.split."): value for key, value in params.items() if key.startswith("data.split.")}
    if given.get("file", "None") != "None":
        return f"as the file `{given['file'].rpartition('/')[2]}` says"
    said = (
        f"{percent(float(given['val']), 0)} for val and {percent(float(given['test']), 0)} for test where the set "
        f"brings none of its own, drawn with `data.split.seed={given['seed']}`"
        if {"val", "test"} <= set(given)
        else f"drawn with `data.split.seed={given['seed']}`"
    )
    if given.get("folds", "None") != "None":
        said += f", fold {given['fold']} of {given['folds']}"
    together = given.get("group", "None")
    return said + (f"; pictures with the same `{together}` are on one side" if together != "None" else "")


def _making(run: Run, made: Assembled) -> Iterator[str]:
    tags = run.data.tags
    if typed := tags.get("overrides"):
        yield f"Made by: `python -m pipeline.train {without_paths(typed)}`"
    if commit := tags.get("git_sha"):
        yield f"Commit: `{commit}`"
    began = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    took = minutes(run) if made.trainings in ((), (run,)) else sum(map(minutes, made.trainings))
    yield f"Trained on {began:%Y-%m-%d} in {duration(took)}" + (
        " (its members together)." if made.networks > 1 else "."
    )
    if machine := ", ".join(
        f"{key.partition('.')[2]} {value}" for key, value in sorted(tags.items()) if key.startswith("machine.")
    ):
        yield f"Machine: {machine}"
    if versions := ", ".join(
        f"{key.partition('.')[2]} {value}" for key, value in sorted(tags.items()) if key.startswith("version.")
    ):
        yield f"Versions: {versions}"
    if verdict := tags.get("verdict"):
        yield f"Its curves: {verdict}"


def _head(run: Run, made: Assembled, found: list[Figures], address: str, licence: str | None) -> ModelCardData:
    """What programs read. The licence is the pictures': which one the model has is for who publishes it to say."""
    tags = run.data.tags
    data = tags.get("data", "pictures")
    results = [
        EvalResult(
            task_type="image-classification", dataset_type=safe_name(data), dataset_name=data, dataset_split=one.split,
            dataset_revision=tags.get("data_digest"), metric_type=name, metric_name=_CALLED[name],
            metric_value=round(share.value, 6),
            metric_args={"n": one.pictures, "low": round(share.low, 6), "high": round(share.high, 6)},
        )
        for one in found for name, share in one.shares.items()
    ]  # fmt: skip
    bases = {
        one.said["source"].removeprefix("hf-hub:")
        for training in made.trainings for one in networks_of(training.data.params)
        if one.said.get("source", "").startswith("hf-hub:")
    }  # fmt: skip
    return ModelCardData(
        model_name=address.removeprefix("models:/"), eval_results=results or None, pipeline_tag="image-classification",
        library_name="mlflow", tags=["image-classification", "biodiversity", "species-pipeline"],
        base_model=sorted(bases) or None, data_licence=licence or "not said", mlflow_run=run.info.run_id,
        commit=tags.get("git_sha"), n_classes=len(made.classes),
    )  # fmt: skip


def _listed(lines: list[str] | Iterator[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _as_code(name: str) -> str:
    """A class may be called anything: in code marks, and on one line, Markdown and HTML in it are text."""
    return f"`{' '.join(name.split())[:_LONGEST_NAME].replace('`', chr(39))}`"


def _classes(classes: tuple[str, ...]) -> str:
    return first_few([_as_code(name) for name in classes], _NAMED)
