"""Finished runs that vote: every strategy on their stored answers, and what is needed to serve the one chosen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.ensembles.members import checked
from pipeline.ensembles.recipe import Recipe, without_idle
from pipeline.ensembles.report import Answers, Outcome, evaluate, ties
from pipeline.experiment.averaging import cook
from pipeline.models.classifier import Classifier
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.finished import has_predictions, stored_predictions

log = logging.getLogger("pipeline.ensemble")


@dataclass(frozen=True)
class Vote:
    """Who voted and what came of it: the members' runs by name, every strategy, the one that was chosen."""

    members: Mapping[str, Run]
    outcome: Outcome
    chosen: str
    soup: tuple[Classifier, NetworkFacts] | None

    @property
    def answers(self) -> dict[str, Predictions]:
        """The chosen strategy's, by split."""
        found = self.outcome.answers[self.chosen]
        return {"val": found.val} | ({} if found.test is None else {"test": found.test})

    @property
    def row(self) -> dict[str, Any]:
        """The chosen strategy's figures."""
        table = self.outcome.table
        return table[table["name"] == self.chosen].iloc[0].to_dict()

    @property
    def weights(self) -> dict[str, float]:
        """What each member counts in the chosen strategy, where they count differently; none for the idle."""
        given = getattr(self.outcome.rules.get(self.chosen), "weights", None) or ()
        return {name: weight for name, weight in zip(self.members, given, strict=False) if weight}

    @property
    def verdict(self) -> str:
        """Whether it was worth it, in one line."""
        gain, low, high = (100 * self.row[key] for key in ("gain", "low", "high"))
        said = (
            f"{self.chosen}: {gain:+.2f} points of {self.outcome.split} accuracy [{low:+.2f}, {high:+.2f}] over the "
            f"best member, {self.outcome.best_member}"
        )
        if low > 0:
            return said
        return f"{said}: {'worse than that member alone' if high < 0 else 'within chance, as the interval holds 0'}"

    def write(self, folder: Path) -> int:
        """Write into a run's folder what is needed to serve it; gives how many networks that asks."""
        if self.chosen == "soup" and self.soup is not None:
            save_best(folder / "checkpoints", *self.soup)
            return 1
        ids = [run.info.run_id for run in self.members.values()]
        rule, kept = without_idle(self.outcome.rules[self.chosen], ids)
        Recipe(rule, tuple(kept)).write(folder / "ensemble")
        return len(kept)


def hold(members: Mapping[str, Run], config: schema.Ensemble) -> Vote:
    """Every strategy on the members' stored predictions; a soup's own come from its network."""
    val = checked(_predictions(members, "val"))
    test = _predictions(members, "test")
    asked = [*config.strategies] + ([] if config.choose in ("val", *config.strategies) else [config.choose])
    if not asked:
        raise BadInput("strategies=[]: name at least one, or choose=soft_vote")
    soup, cooked = None, dict[str, Answers]()
    if "soup" in asked:
        network, facts, cooked["soup"] = cook(members)
        soup = network, facts
    first = next(iter(val.values()))
    log.info(
        "%d members, %d classes, %s val and %s test pictures", len(members), len(first.classes),
        f"{len(first):,}", f"{len(next(iter(test.values()))):,}" if test else "no",
    )  # fmt: skip
    rules = [name for name in asked if name != "soup"]
    outcome = evaluate(val, test, rules, cooked)
    if "hard_vote" in rules:
        count = ties(checked(test) if test else val)
        log.info("hard_vote: %s on %s went to the larger mean probability", counted(count, "tie"), outcome.split)
    chosen = outcome.best_strategy if config.choose == "val" else config.choose
    return Vote(members, outcome, chosen, soup)


def _predictions(members: Mapping[str, Run], split: str) -> dict[str, Predictions]:
    """What each member answered for a split; nothing for test where the data have none."""
    if split == "test" and not any(has_predictions(run, split) for run in members.values()):
        return {}
    return {name: stored_predictions(run, split) for name, run in members.items()}
