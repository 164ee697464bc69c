"""What a run records of itself, and tells its user: what went in, what is odd about it, what its curves say."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from pipeline.common.names import PARENT_VARIABLE
from pipeline.common.wording import counted, rate
from pipeline.config import schema
from pipeline.data.files import write_csv
from pipeline.data.remaining import check_what_is_left
from pipeline.data.split_files import keep_split
from pipeline.data.survey.duplicates import leaks
from pipeline.data.survey.measure import look_alike
from pipeline.data.survey.neighbours import nearest
from pipeline.data.unseen import keep_unseen
from pipeline.evaluation.verdict import Chance, judge
from pipeline.experiment import build
from pipeline.experiment.ablation import tell_columns, tell_picture_or_column
from pipeline.experiment.attributes import tell_attributes
from pipeline.experiment.build import Prepared
from pipeline.experiment.familiar import Noted, familiar_of, keep
from pipeline.experiment.inference import shared_answers
from pipeline.experiment.photographs import leave_mistakes
from pipeline.experiment.stages import is_fitted, refits
from pipeline.experiment.unseen import tell_unseen
from pipeline.models.saved import BEST_WEIGHTS, epoch_file, fill_network, weights_for
from pipeline.reporting.run_report import Draw, write_report
from pipeline.tracking.runs import TrackedRun, dataset_of, git_sha, machine
from pipeline.training.checkpoints import has_state
from pipeline.training.hardware import instructions
from pipeline.training.loop import Epoch, Progress
from pipeline.training.losses import loss_of_knowing_nothing

log = logging.getLogger("pipeline.train")


_LIKELY, _MOST_LOOKED_AT = 0.7, 300  # cosine of features, pairs: those are opened and compared as pictures
_MOST_PAIRS = 200_000_000  # of features compared


def run_tags(
    config: schema.Train, prepared: Prepared, identity: Mapping[str, str], typed: Sequence[str]
) -> dict[str, Any]:
    """What a run is found by; `typed`: the overrides that its user gave."""
    return {
        "stage": "train",
        "model": config.model.name.rpartition("/")[2],
        "regime": config.regime.name,
        "data": config.data.name,
        "overrides": shlex.join(typed),
        "git_sha": git_sha(),
        **identity,
        **{f"machine.{name}": value for name, value in prepared.resolved.items()},
        **machine(),
        "machine.instructions": instructions(),
        **({"refit": "on train and val; the figures of val are from before"} if refits(config) else {}),
        **config.tracking.tags,
    }


def announce(config: schema.Train, prepared: Prepared, run: TrackedRun) -> None:
    """What is about to happen, in two lines."""
    millions = count_parameters(prepared) / 1e6
    counts = ", ".join(f"{len(prepared.table.where(split)):,} {split}" for split in ("train", "val", "test"))
    log.info(
        "%s (%.1f M parameters), regime %s, on %s: %s pictures of %d classes", config.model.name, millions,
        config.regime.name, config.data.name, counts, len(prepared.table.classes),
    )  # fmt: skip
    resolved = prepared.resolved
    log.info(
        "%s on %s (%s threads); run %s in experiment %s",
        resolved["precision"], resolved["device"], resolved["threads"], run.name, config.tracking.experiment,
    )  # fmt: skip


def describe(epoch: Epoch) -> str:
    """An epoch in one line."""
    return (
        f"epoch {epoch.epoch:3d}  train loss {epoch.train_loss:.4f} accuracy {100 * epoch.train_accuracy:6.2f} %  "
        f"val loss {epoch.val_loss:.4f} accuracy {100 * epoch.val_accuracy:6.2f} %  "
        f"{rate(epoch.images_per_second)} pictures/s{'  *' if epoch.improved else ''}"
    )


def conclude(
    config: schema.Train, prepared: Prepared, run: TrackedRun, progress: Progress, *, goes_on: bool, draw: Draw
) -> float:
    """Score val and test once with the best epoch's weights; write what there is to look at. Gives val's accuracy.

    What was fitted once more is asked of test alone.
    """
    checkpoints = run.folder / "checkpoints"
    fill_network(prepared.network, checkpoints / BEST_WEIGHTS)
    familiar = familiar_of(config, prepared)
    predictions, noted = {}, {split: Noted(familiar) for split in ("val", "test")}
    for split, note in noted.items():
        fill_network(prepared.network, weights_for(split, checkpoints))
        predictions[split] = shared_answers(config, prepared, split, note.add)
    keep(run.folder / "predictions", familiar, noted)
    metrics = write_report(run.folder, predictions, progress.history, prepared.table.taxonomy, draw=draw)
    scored = metrics.get("test", {})  # there may be no test, or none of it that can be read
    named = {f"best/val_{name}": value for name, value in metrics["val"].items()}
    named |= {f"test/{name}": value for name, value in scored.items()}
    kept = kept_weights(config, run, progress)
    abouts = run.log_weights(kept, prepared.table.name, again=goes_on)
    run.log_metrics({**named, "best/epoch": progress.best_epoch}, about=abouts.get(progress.best_epoch))
    figures = f"best epoch {progress.best_epoch}: val accuracy {100 * metrics['val']['accuracy']:.2f} %"
    if "accuracy" in scored:
        figures += f", test accuracy {100 * scored['accuracy']:.2f} %"
    log.info("%s", figures)
    if PARENT_VARIABLE not in os.environ:  # of a sweep's jobs `compare` draws the leaders'
        shown = "test" if len(predictions["test"]) else "val"
        members = (prepared.network,) if config.tracking.heat_maps else ()
        leave_mistakes(run, str(run.name), shown, predictions[shown], prepared.table, members)
    tell_verdict(config, prepared, run, progress, predictions["val"].labels, figures)
    shown = "test" if len(predictions["test"]) else "val"
    tell_picture_or_column(config, prepared, run, shown, predictions[shown])
    tell_attributes(config, prepared, run, shown)
    tell_unseen(config, prepared, run, predictions, familiar, noted)
    check_what_is_left(prepared.table, "test")
    tell_skipped(prepared, run)
    tell_waited(prepared, run)
    tell_near_leaks(prepared, run)
    return metrics["val"]["accuracy"]


def kept_weights(config: schema.Train, run: TrackedRun, progress: Progress) -> dict[int, str]:
    """By epoch, the files of weights that the run kept, the best last; those asked for that it did not come to lack."""
    best, folder = progress.best_epoch, run.folder / "checkpoints"
    others = {epoch: epoch_file(epoch) for epoch in config.trainer.keep_epochs if epoch != best}
    return {epoch: file for epoch, file in others.items() if (folder / file).is_file()} | {best: BEST_WEIGHTS}


def tell_other_hardware(prepared: Prepared, run: TrackedRun) -> None:
    """Warn where a run goes on with what gives other figures than it began with."""
    for name, value in prepared.resolved.items():
        began = run.tags.get(f"machine.{name}", str(value))
        if began != str(value):
            log.warning(
                "warning: the run began with %s %s and goes on with %s: its figures need not be as in one go",
                name, began, value,
            )  # fmt: skip


def logged_epochs(run: TrackedRun) -> set[int]:
    """The epochs whose figures the run has in MLflow."""
    return {point.step for point in MlflowClient().get_metric_history(run.id, "val/accuracy")}


def make_up_for_metrics(run: TrackedRun, progress: Progress) -> None:
    """Log the epochs that were over when the run was killed, but not yet logged."""
    logged = logged_epochs(run)
    for figures in progress.history:
        epoch = int(figures["epoch"])
        if epoch not in logged:
            run.log_metrics({name: value for name, value in figures.items() if name != "epoch"}, step=epoch)


def tell_verdict(
    config: schema.Train, prepared: Prepared, run: TrackedRun, progress: Progress, val_labels: np.ndarray, figures: str
) -> None:
    """What the curves say in one sentence, beside what could be had without looking; a tag of the run too.

    With the `figures` it is the run's description, unless the user gave it one.
    """
    table = prepared.table
    trained, classes = table.labels[table.where("train")], len(table.classes)
    chance = Chance(
        loss=loss_of_knowing_nothing(build.loss(config, table), val_labels, trained, classes),
        accuracy=float(np.bincount(val_labels).max() / len(val_labels)), classes=classes, pictures=len(val_labels),
    )  # fmt: skip
    verdict = judge(
        progress.history,
        chance,
        stage_began=progress.stage_began,
        head_only=config.regime.trains == "head",
        fitted=is_fitted(config),
    )
    note = f"{figures}\n\n{verdict}\n\nServe it: `python -m pipeline.promote run={run.id}`"
    described = {MLFLOW_RUN_NOTE: note} if MLFLOW_RUN_NOTE not in config.tracking.tags else {}
    run.set_tags({"verdict": verdict, "verdict.kind": verdict.tag, **described})
    log.info("verdict: %s", verdict)


def tell_skipped(prepared: Prepared, run: TrackedRun) -> None:
    """Count, name and list the pictures that were left out."""
    skipped = prepared.table.skipped
    run.log_metrics({"skipped_pictures": len(skipped)})
    if skipped:
        lines = [f"{path}\t{reason}" for path, reason in skipped.items()]
        text = "\n".join(["path\treason", *lines]) + "\n"
        (run.folder / "skipped.tsv").write_text(text, encoding="utf-8", errors="backslashreplace")
        log.warning("%d pictures were left out, the first: %s (%s)", len(skipped), *next(iter(skipped.items())))


def tell_waited(prepared: Prepared, run: TrackedRun) -> None:
    """Record how long other processes were waited for, which is no time of this run's own."""
    if prepared.waited:
        run.log_metrics({"waited_seconds": sum(prepared.waited)})


def log_inputs(config: schema.Train, prepared: Prepared, run: TrackedRun, *, goes_on: bool) -> None:
    """What goes in, and what is odd about it; of a run that goes on, what differs from how it began."""
    if goes_on:
        tell_other_hardware(prepared, run)
    if not has_state(run.folder / "checkpoints"):  # before there was one, it may have been killed in the midst of this
        keep_inputs(config, prepared, run)
    run.set_tags(tell_columns(prepared))
    run.log_metrics({"data/leaks": tell_leaks(prepared, run), "parameters": count_parameters(prepared)})


def keep_inputs(config: schema.Train, prepared: Prepared, run: TrackedRun) -> None:
    """The composed config and the split as files, the pictures as MLflow's dataset."""
    plain = config.model_dump(mode="json")
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    (run.folder / "config.yaml").write_text(text, encoding="utf-8")
    keep_split(prepared.split, run.folder)
    if prepared.unseen is not None:
        keep_unseen(prepared.unseen, run.folder)
    if (known := prepared.split.attributes) is not None:
        write_csv(known.copy().rename_axis(known.index.name or "class"), run.folder / "attributes.csv", index=True)
    run.log_inputs(dataset_of(prepared.table))
    if prepared.split.unlisted is not None:
        run.log_metrics({"data/unlisted": prepared.split.unlisted})


def tell_leaks(prepared: Prepared, run: TrackedRun) -> int:
    """Warn of pictures that are in two splits, which makes val or test say too much; how many there are."""
    found = leaks(prepared.table)
    run.set_tags({"data.leaks": len(found)})
    if found.attrs["unchecked"]:
        log.info("%d pictures were not compared; python -m pipeline.explore does", found.attrs["unchecked"])
    if len(found):
        first = found.iloc[0]
        log.warning(
            "warning: %d pictures of one split are also in another, so val or test will look too good: "
            "%s (%s) is %s (%s); python -m pipeline.explore lists them", len(found), first["path"],
            first["split"], first["other_path"], first["other_split"],
        )  # fmt: skip
    return len(found)


def tell_near_leaks(prepared: Prepared, run: TrackedRun) -> None:
    """Where features were made anyway: warn of val's and test's pictures that look like copies of one of train's."""
    made, table = prepared.features, prepared.table
    if ("train", None) not in made or not len(made["train", None].rows):
        return
    train = made["train", None]
    values, pairs, cosines, unchecked = train.values.read(), [], [], 0
    for held in (
        made[split, None] for split in ("val", "test") if (split, None) in made and made[split, None].rows.size
    ):
        few = held.values.choose(np.arange(min(len(held.rows), _MOST_PAIRS // len(train.rows))))
        places, cosine = nearest(values, few.read())
        pairs += list(zip(held.rows[: len(few)].tolist(), train.rows[places[:, 0]].tolist(), strict=True))
        cosines += cosine[:, 0].tolist()
        unchecked += len(held.rows) - len(few)
    likeliest = sorted(range(len(pairs)), key=lambda place: -cosines[place])[:_MOST_LOOKED_AT]
    how = prepared.network.parts[0].preprocessing
    alike = [pairs[place] for place in likeliest if cosines[place] > _LIKELY and look_alike(table, pairs[place], how)]
    run.set_tags({"data.near_leaks": len(alike)})
    run.log_metrics({"data/near_leaks": len(alike)})
    if unchecked:
        log.info("%d pictures were not compared with those of train; python -m pipeline.explore does", unchecked)
    if alike:
        facts = table.rows[["path", "split", "label"]]
        held, copied = (facts.iloc[list(rows)].reset_index(drop=True) for rows in zip(*alike, strict=True))
        pairs_found = held.join(copied.add_prefix("other_"))
        write_csv(pairs_found, run.folder / "near_leaks.csv")
        verb = "looks" if len(alike) == 1 else "look"
        log.warning(
            "warning: %s of val or test %s like a copy of one of train, so val or test may look too good: "
            "%s is much like %s; the run's near_leaks.csv lists them", counted(len(alike), "picture"), verb,
            held["path"][0], copied["path"][0],
        )  # fmt: skip


def count_parameters(prepared: Prepared) -> int:
    """How large the network is, whatever of it trains."""
    return sum(parameter.numel() for parameter in prepared.network.parameters())
