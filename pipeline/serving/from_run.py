"""The served model of a run: of its own network, or of an ensemble's members, which keep their weights themselves."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.common.errors import BadInput
from pipeline.ensembles.recipe import Recipe
from pipeline.ensembles.rules import Rule
from pipeline.evaluation.calibration import expected_calibration_error
from pipeline.evaluation.conformal import set_summary
from pipeline.evaluation.depth import Tree, answered, depth_figures
from pipeline.evaluation.familiar import Familiar, Looks, read_familiar
from pipeline.evaluation.strangeness import too_strange
from pipeline.models.saved import BEST_WEIGHTS, load_network, read_facts
from pipeline.predictions.predictions import Predictions
from pipeline.serving.bundle import Bundle, share_backbones, write_bundle
from pipeline.serving.calibrating import calibrated_on, calibrated_on_groups
from pipeline.serving.calibration import Calibration
from pipeline.serving.known import FILE, Known
from pipeline.tracking.finished import artifact_folder, has_predictions, label, stored_predictions
from pipeline.tracking.selection import run_of_id

PROMISED = 0.9


@dataclass(frozen=True)
class Assembled:
    """What was put together: its classes, how many networks, and its calibration with what that does on test.

    `answered` is what the run answered to val and test, `trainings` are those whose weights it has.
    `figures` has `test/ece`, `test/ece_calibrated` and, where val supports it, `test/coverage_90` and
    `test/set_size_90`, `test/rank_error_5` (the share of answers at the rank that is sure that are wrong) and
    `test/rank_full_5` (of those that name the species), `test/known_sent_away_5` (of known pictures that are told for
    unknown); it is empty without test pictures.
    """

    classes: tuple[str, ...]
    networks: int
    calibration: Calibration
    figures: dict[str, float]
    answered: dict[str, Predictions]
    trainings: tuple[Run, ...] = ()


def assemble(client: MlflowClient, run: Run, folder: Path, groups: Mapping[str, str] | None = None) -> Assembled:
    """Write the served model of a run into `folder`. BadInput names the run or the member that lacks something.

    `groups` are the names of the groups that val's pictures are of, by their ids.
    """
    rule, checkpoints = ingredients(client, run)
    answered = {split: stored_predictions(run, split) for split in ("val", "test") if has_predictions(run, split)}
    taxonomy = read_facts(next(iter(checkpoints.values()))).taxonomy
    calibration = calibrated_on(answered["val"], taxonomy) if "val" in answered else Calibration()
    if groups and "val" in answered:
        names = [groups.get(one) for one in answered["val"].ids]
        calibration = replace(calibration, groups=calibrated_on_groups(answered["val"], names, taxonomy))
    figures = figures_of(answered["test"], calibration, taxonomy) if "test" in answered else {}
    known = known_of(run, answered["val"].at_temperature(calibration.temperature)) if "val" in answered else None
    if known is not None and "test" in answered:
        figures |= sent_away(known, answered["test"].at_temperature(calibration.temperature), looks_of(run)[1])
    facts = write_bundle(folder, checkpoints, rule, calibration, known)
    return Assembled(facts.classes, len(checkpoints), calibration, figures, answered, tuple(trainings_of(client, run)))


def trainings_of(client: MlflowClient, run: Run) -> list[Run]:
    """The trainings whose weights answer for a run: its own, or an ensemble's members, as far as they are there."""
    if run.data.tags.get("stage") != "ensemble":
        return [run]
    if run.data.tags.get("strategy") == "soup":
        ids = re.findall("[0-9a-f]{32}", run.data.params.get("members", ""))
    else:
        ids = list(Recipe.read(artifact_folder(run, "ensemble")).run_ids)
    found = []
    for one in ids:
        with suppress(MlflowException):
            found.append(run_of_id(client, one))
    return found


def ingredients(client: MlflowClient, run: Run) -> tuple[Rule | None, dict[str, Path]]:
    """The rule, if there is one, and the folders of the networks' weights by name."""
    if run.data.tags.get("stage") != "ensemble" or run.data.tags.get("strategy") == "soup":
        return None, {label(run): artifact_folder(run, "checkpoints")}
    recipe = Recipe.read(artifact_folder(run, "ensemble"))
    return recipe.rule, dict(_member(client, run_id, run) for run_id in recipe.run_ids)


def kept_weights(folders: Iterable[Path]) -> list[str]:
    """Of which epochs runs, by their `checkpoints/` folders, all kept weights: `best`, `epoch_5`, ..."""
    return sorted(set[str].intersection(*({file.stem for file in one.glob("*.safetensors")} for one in folders)))


def best_of(client: MlflowClient, run: Run) -> Bundle:
    """A run's networks with their best weights. BadInput, naming the member, where these are gone."""
    rule, folders = ingredients(client, run)
    for name, folder in folders.items():
        if not (folder / BEST_WEIGHTS).is_file():
            raise BadInput(f"run={run.info.run_id}: the weights of {name} are gone; train it again with resume=never")
    return bundle_of(rule, [folder / BEST_WEIGHTS for folder in folders.values()])


def bundle_of(rule: Rule | None, files: Sequence[Path]) -> Bundle:
    """Networks of runs, from files of their weights, ready to answer."""
    facts = [read_facts(file.parent) for file in files]
    members = [load_network(one.spec, file) for one, file in zip(facts, files, strict=True)]
    share_backbones(members)
    first = facts[0]
    return Bundle(
        members=tuple(members), classes=first.classes, taxonomy=first.taxonomy, rule=rule, calibration=Calibration()
    )


def _member(client: MlflowClient, run_id: str, ensemble: Run) -> tuple[str, Path]:
    try:
        member = run_of_id(client, run_id)
        return label(member), artifact_folder(member, "checkpoints")
    except MlflowException:
        problem = f"MLflow has no run {run_id} any more"
    except BadInput as error:
        problem = str(error)
    raise BadInput(f"a member of the ensemble {ensemble.info.run_name} is gone: {problem}")


def figures_of(test: Predictions, calibration: Calibration, taxonomy: pd.DataFrame | None) -> dict[str, float]:
    """What calibration does on test, which had no part in it."""
    after = test.at_temperature(calibration.temperature)
    figures = {
        "test/ece": expected_calibration_error(test),
        "test/ece_calibrated": expected_calibration_error(after),
    }
    if promised := calibration.depth(None):
        error, threshold = promised
        found = answered(Tree.of(after.classes, taxonomy), after, threshold)
        figures |= {f"test/{name}": value for name, value in depth_figures(found, error).items()}
    try:
        rule = calibration.set_rule(PROMISED)
    except BadInput:
        return figures
    sets = set_summary(rule.sets(test), test)
    return figures | {"test/coverage_90": sets["coverage"], "test/set_size_90": sets["mean_size"]}


def sent_away(known: Known, test: Predictions, looks: Mapping[str, Looks]) -> dict[str, float]:
    """Which share of test, at the temperature, is told for unknown, by the promise that is usual."""
    promised = known.strangeness.sends_away(None)
    strange = known.strange(test, looks.get("test"))
    if promised is None or strange is None:
        return {}
    return {f"test/known_sent_away_{100 * promised[0]:g}": float(too_strange(strange, promised[1]).mean())}


def looks_of(run: Run) -> tuple[Familiar | None, dict[str, Looks]]:
    """What a run noted of its pictures, by split, in the order of its predictions; nothing where it noted none.

    A run of an earlier version, or of several networks.
    """
    file = artifact_folder(run, "predictions") / FILE
    if not file.is_file():
        return None, {}
    familiar, arrays = read_familiar(file)
    splits = {name.partition(".")[0] for name in arrays}
    return familiar, {split: Looks(arrays[f"{split}.distance"], arrays[f"{split}.along"]) for split in splits}


def known_of(run: Run, val: Predictions) -> Known | None:
    """What a run's val supports, by its predictions at the temperature that was fitted; None of an earlier version.

    Several networks have no features in common: an ensemble goes by its probabilities.
    """
    if run.data.tags.get("stage") == "ensemble":
        return Known.of(val, None, None)
    familiar, looks = looks_of(run)
    if familiar is None or "val" not in looks or len(looks["val"].distance) != len(val):
        return None
    return Known.of(val, familiar, looks["val"])
