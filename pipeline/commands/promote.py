"""Make the best run the one that is served:   python -m pipeline.promote sweep=latest"""

from __future__ import annotations

import logging
from shlex import quote

from mlflow import MlflowClient

from pipeline.common.atomic import scratch_folder
from pipeline.common.names import safe_name
from pipeline.config import schema
from pipeline.evaluation.calibration import changes_nothing
from pipeline.experiment.groups import groups_of_run
from pipeline.serving.card import FILE, licence_of, model_card
from pipeline.serving.from_run import Assembled, assemble
from pipeline.tracking.champion import champion
from pipeline.tracking.registry import publish
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.promote")


def run(config: schema.Promote) -> str:
    """Choose by val, assemble the served model, register it, point the alias at it. Gives its address."""
    Store().open()
    client = MlflowClient()
    run = champion(client, config)
    name = safe_name(client.get_experiment(run.info.experiment_id).name)
    with scratch_folder() as scratch:
        folder = scratch / "served"  # the name under which the model finds it
        made = assemble(client, run, folder, groups_of_run(client, run, config.group))
        metrics = {config.metric: run.data.metrics[config.metric], **made.figures}
        address = f"models:/{name}@{config.alias}"
        card = model_card(run, made, address, config.data.licence)
        (folder / FILE).write_text(card.text, encoding="utf-8")
        registered = publish(
            folder, run, metrics, name=name, alias=config.alias, classes=made.classes,
            description=card.description,
        )  # fmt: skip
    log.info(
        "%s is now %s (version %s): %s%s, %s %.4f",
        run.info.run_name, address, registered.version, run.data.tags.get("model", "?"),
        f" ({made.networks} networks)" if made.networks > 1 else "",
        config.metric, run.data.metrics[config.metric],
    )  # fmt: skip
    describe_calibration(made)
    if not config.data.licence and not licence_of(run, made):
        log.warning(
            "warning: the model's card cannot say under which licence its pictures are: promote it again with "
            "data.licence='CC BY 4.0', or whatever holds for them"
        )
    log.info("next: mlflow models serve -m %s --env-manager local -p 5001", quote(address))
    log.info("or:   python -m pipeline.predict images=PICTURE_OR_FOLDER %s", quote(f"model={address}"))
    return address


def describe_calibration(made: Assembled) -> None:
    """What was done for the probabilities, and what test says of it."""
    figures, temperature = made.figures, made.calibration.temperature
    error = ""
    if figures:
        error = f": calibration error on test {figures['test/ece']:.3f} -> {figures['test/ece_calibrated']:.3f}"
    if changes_nothing(temperature):
        log.info(
            "probabilities are right as often as they say on val, and stay as they are (temperature 1.00)%s", error
        )
    else:
        log.info("probabilities are calibrated on val (temperature %.2f)%s", temperature, error)
    for name, wrong in figures.items():
        if name.startswith("test/rank_error_"):
            percent = name.removeprefix("test/rank_error_")
            log.info(
                "answers at the rank that is sure, at most %s %% of them promised to be wrong: %.1f %% of test are, "
                "%.1f %% name the class", percent, 100 * wrong, 100 * figures[f"test/rank_full_{percent}"],
            )  # fmt: skip
        elif name.startswith("test/known_sent_away_"):
            log.info(
                "pictures that are strange to it are called unknown, at most %s %% of known ones promised: %.1f %% of "
                "test are", name.removeprefix("test/known_sent_away_"), 100 * wrong,
            )  # fmt: skip
    if "test/coverage_90" in figures:
        log.info(
            "sets of labels promised to hold the right one in 90 %% do so in %.1f %% of test, with %.1f labels each",
            100 * figures["test/coverage_90"], figures["test/set_size_90"],
        )  # fmt: skip
