"""Let runs that are already there vote:   python -m pipeline.ensemble sweep=latest"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.data.files import write_csv
from pipeline.ensembles.members import checked
from pipeline.ensembles.recipe import Recipe, without_idle
from pipeline.ensembles.report import STRATEGIES, Answers, Outcome, evaluate, ties
from pipeline.experiment.averaging import cook
from pipeline.models.classifier import Classifier
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.plots import gains
from pipeline.reporting.run_report import write_report
from pipeline.reporting.terminal import console
from pipeline.tracking.finished import count_test_looks, has_predictions, label, stored_predictions, taxonomy_of
from pipeline.tracking.members import chosen_members, member_names, named_members
from pipeline.tracking.runs import TrackedRun, flatten, git_sha, machine, tracked_run
from pipeline.tracking.selection import find_experiment, find_sweep
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.ensemble")


@dataclass(frozen=True)
class Vote:
    """Who voted and what came of it: the members' runs by name, every strategy, the one that was chosen."""

    members: Mapping[str, Run]
    outcome: Outcome
    chosen: str
    soup: tuple[Classifier, NetworkFacts] | None

    @property
    def answers(self) -> Answers:
        """The chosen strategy's."""
        return self.outcome.answers[self.chosen]

    def row(self, name: str) -> dict[str, Any]:
        """The figures of a member or strategy."""
        table = self.outcome.table
        return table[table["name"] == name].iloc[0].to_dict()


def run(config: schema.Ensemble) -> None:
    """Find the members, try every strategy, let val choose, and keep the outcome as a run of its own."""
    Store().open()
    client = MlflowClient()
    members = find_members(client, config)
    vote = hold(members, config)
    count_test_looks(client, list(members.values()))
    show(vote)
    keep(client, vote, config)


def find_members(client: MlflowClient, config: schema.Ensemble) -> dict[str, Run]:
    """The runs asked for, best first, by names that tell them apart."""
    if config.runs is not None:
        for key in ("sweep", "filter", "best"):
            if getattr(config, key) is not None:
                raise BadInput(f"runs= names the members; leave {key}= out")
        runs = named_members(client, config.runs)
    else:
        experiment = find_experiment(client, config.tracking.experiment, config.sweep)
        runs = chosen_members(
            client,
            experiment,
            sweep=config.sweep,
            where=config.filter,
            best=config.best,
            metric=config.metric,
        )
    return dict(zip(member_names(runs, [*STRATEGIES, "soup"]), runs, strict=True))


def hold(members: dict[str, Run], config: schema.Ensemble) -> Vote:
    """Every strategy on the members' stored predictions; a soup's own come from its network."""
    val = checked(predictions(members, "val"))
    test = predictions(members, "test")
    asked = [*config.strategies] + ([] if config.choose in ("val", *config.strategies) else [config.choose])
    if not asked:
        raise BadInput("strategies=[]: name at least one, or choose=soft_vote")
    soup = cooked = None
    if "soup" in asked:
        network, facts, cooked = cook(members)
        soup = network, facts
    first = next(iter(val.values()))
    log.info(
        "%d members, %d classes, %s val and %s test pictures", len(members), len(first.classes),
        f"{len(first):,}", f"{len(next(iter(test.values()))):,}" if test else "no",
    )  # fmt: skip
    rules = [name for name in asked if name != "soup"]
    outcome = evaluate(val, test, rules, {"soup": cooked} if cooked else None)
    if "hard_vote" in rules:
        split, voters = ("test", checked(test)) if test else ("val", val)
        count = ties(voters)
        log.info("hard_vote: %s ties on %s went to the larger mean probability", f"{count:,}", split)
    chosen = outcome.best_strategy if config.choose == "val" else config.choose
    return Vote(members, outcome, chosen, soup)


def predictions(members: Mapping[str, Run], split: str) -> dict[str, Predictions]:
    """What each member answered for a split; nothing for test where the data have none."""
    if split == "test" and not any(has_predictions(run, split) for run in members.values()):
        return {}
    return {name: stored_predictions(run, split) for name, run in members.items()}


def show(vote: Vote) -> None:
    """The table in the terminal, and the verdict."""
    split = "test" if "test_accuracy" in vote.outcome.table else "val"
    scored = [part for part in ("val", "test") if f"{part}_accuracy" in vote.outcome.table]
    table = Table(title=f"accuracy in %; gain on {split} over the best member, 95 % interval", box=SIMPLE)
    table.add_column("best by val first", overflow="fold")
    widths = {**dict.fromkeys(scored, 6), "gain": 6, "interval": 17, "p (Holm)": 8}
    for heading, width in widths.items():
        table.add_column(heading, no_wrap=True, justify="right", min_width=width)
    for row in vote.outcome.table.to_dict("records"):
        style = "bold" if row["name"] == vote.chosen else "dim" if row["kind"] == "member" else ""
        cells = [f"{100 * row[f'{part}_accuracy']:.2f}" for part in scored]
        if row["name"] != vote.outcome.best_member:
            ends = f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
            cells += [f"{100 * row['gain']:+.2f}", ends, f"{row['p_holm']:.3f}"]
        table.add_row(Text(row["name"]), *cells, style=style)
    console().print(table)
    for name, weight in weights(vote).items():
        log.info("%s counts %.2f", name, weight)
    log.info("%s", verdict(vote))


def weights(vote: Vote) -> dict[str, float]:
    """What each member counts in the chosen strategy, where they count differently; none for the idle."""
    given = getattr(vote.outcome.rules.get(vote.chosen), "weights", None) or ()
    return {name: weight for name, weight in zip(vote.members, given, strict=False) if weight}


def verdict(vote: Vote) -> str:
    """Whether it was worth it, in one line."""
    row, best = vote.row(vote.chosen), vote.outcome.best_member
    split = "test" if "test_accuracy" in row else "val"
    gain, low, high = (100 * row[key] for key in ("gain", "low", "high"))
    interval = f"[{low:+.2f}, {high:+.2f}]"
    said = f"{vote.chosen}: {gain:+.2f} points of {split} accuracy {interval} over the best member, {best}"
    if low > 0:
        return said
    return f"{said}: {'worse than that member alone' if high < 0 else 'within chance, as the interval holds 0'}"


def keep(client: MlflowClient, vote: Vote, config: schema.Ensemble) -> None:
    """The ensemble as a run of its members' experiment."""
    experiment = client.get_experiment(next(iter(vote.members.values())).info.experiment_id).name
    ids = [run.info.run_id for run in vote.members.values()]
    name = config.tracking.run_name or f"{vote.chosen} of {len(weights(vote)) or len(ids)}"
    params = flatten(config.model_dump(mode="json")) | {"members": ids, "strategy": vote.chosen}
    with tracked_run(experiment, name=name, tags=run_tags(client, vote, config), params=params) as run:
        metrics = write(run, vote)
        run.log_metrics(metrics)
    log.info("run %s in experiment %s", run.name, experiment)
    log.info("next: mlflow ui    to look;    python -m pipeline.promote run=%s    to serve it", run.id)


def run_tags(client: MlflowClient, vote: Vote, config: schema.Ensemble) -> dict[str, Any]:
    """What the run is found by; what all members share is told once."""
    runs = list(vote.members.values())
    sweep = {}
    if config.sweep is not None:
        experiment = find_experiment(client, client.get_experiment(runs[0].info.experiment_id).name)
        sweep = {"sweep": find_sweep(client, experiment, config.sweep).info.run_id}

    def of_all(tag: str) -> str:
        return "+".join(sorted({run.data.tags.get(tag, "?") for run in runs}))

    digests = {run.data.tags.get("data_digest", "") for run in runs}
    bagging = len({run.data.params.get("data.bootstrap", "None") for run in runs} - {"None"}) == len(runs)
    return {
        "stage": "ensemble",
        "strategy": vote.chosen,
        "members": ", ".join(map(label, runs))[:5000],
        "best_member": vote.members[vote.outcome.best_member].info.run_id,
        **{tag: of_all(tag) for tag in ("model", "regime", "data")},
        **({"data_digest": digests.pop()} if len(digests) == 1 else {}),
        **({"bagging": "true"} if bagging else {}),
        **sweep,
        "git_sha": git_sha(),
        **machine(),
        "mlflow.note.content": f"{verdict(vote)}\n\n{markdown(vote.outcome.table)}",
    }


def write(run: TrackedRun, vote: Vote) -> dict[str, float]:
    """The files of the run; gives its metrics, under the names that a training run's have."""
    runs = list(vote.members.values())
    splits = {"val": vote.answers.val} | ({"test": vote.answers.test} if vote.answers.test is not None else {})
    scores = write_report(run.folder, splits, taxonomy=taxonomy_of(runs[0]))
    folder = run.folder / "ensemble"
    folder.mkdir()
    write_csv(vote.outcome.table, folder / "strategies.csv")
    last = list(splits)[-1]
    figure = gains(vote.outcome.table, best=vote.outcome.best_member, chosen=vote.chosen, split=last)
    figure.savefig(folder / "strategies.png")
    networks = 1
    if vote.chosen == "soup" and vote.soup is not None:
        save_best(run.folder / "checkpoints", *vote.soup)
    else:
        rule, kept = without_idle(vote.outcome.rules[vote.chosen], [one.info.run_id for one in runs])
        Recipe(rule, tuple(kept)).write(folder)
        networks = len(kept)
    row = vote.row(vote.chosen)
    figures = {f"best/val_{key}": value for key, value in scores["val"].items()}
    figures |= {f"test/{key}": value for key, value in scores.get("test", {}).items()}
    gained = {f"gain/{last}_accuracy{end}": row[key] for key, end in (("gain", ""), ("low", "_low"), ("high", "_high"))}
    return figures | gained | {"networks": float(networks)}


def markdown(table: pd.DataFrame) -> str:
    """The table as MLflow shows it in a run's description."""
    figures = [name for name in table if name not in ("name", "kind")]
    lines = [f"| {' | '.join(['', *figures])} |", "| --- " * (len(figures) + 1) + "|"]
    for row in table.to_dict("records"):
        cells = ["" if row[name] != row[name] else f"{row[name]:.4f}" for name in figures]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)
