"""Finished runs for a comparison: which ones, their scores, and what else is read off the leaders."""

import logging
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.common.errors import BadInput
from pipeline.common.progress import each
from pipeline.comparison.entrants import Entrant, score
from pipeline.comparison.group import Group
from pipeline.comparison.groups import comparable, difference_of_data
from pipeline.config import schema
from pipeline.evaluation.taxonomy import rank_accuracy
from pipeline.tracking import finished
from pipeline.tracking.finished import stored_predictions
from pipeline.tracking.selection import find_experiment, find_run, find_sweep, trained_runs

log = logging.getLogger("pipeline.compare")
_CURVES = 3  # rows


class Compared(NamedTuple):
    """Finished runs, `runs` by id, and what ranks them. `looks`: how often test figures of any were looked at."""

    title: str
    runs: dict[str, Run]
    entrants: list[Entrant]
    left_out: dict[str, str]
    groups: list[Group]
    looks: int


def compared(client: MlflowClient, config: schema.Comparing) -> Compared:
    """The runs that a config chooses, in groups of those that can be ranked together; this is one look at test."""
    runs, title = chosen(client, config)
    entrants, left_out = entered(client, runs, named=config.runs is not None)
    by_id = {run.info.run_id: run for run in runs}
    groups = grouped(client, entrants, by_id, config.leaders)
    looks = finished.count_test_looks(client, [by_id[one.id] for one in entrants if one.test])
    return Compared(title, by_id, entrants, left_out, groups, looks)


def chosen(client: MlflowClient, config: schema.Comparing) -> tuple[list[Run], str]:
    """The runs to compare, newest first, and what to call them. BadInput where there is none."""
    if config.runs is not None:
        if config.sweep:
            raise BadInput("runs and sweep both say which runs: give one of them")
        if not config.runs:
            raise BadInput("runs=[] names no run: give their ids, or leave it out for the whole experiment")
        return [find_run(client, one, f"runs: {one}", ("train",)) for one in dict.fromkeys(config.runs)], "chosen runs"
    experiment = find_experiment(client, config.tracking.experiment, config.sweep)
    runs, title = trained_runs(client, experiment, config.sweep), experiment.name
    if config.sweep:
        title = f"{experiment.name}: {find_sweep(client, experiment, config.sweep).info.run_name}"
    if not runs:
        raise BadInput(f"{title} has no finished training run{_others(client, experiment.name)}")
    return runs, title


def _others(client: MlflowClient, name: str) -> str:
    """Which experiments have runs to compare."""
    counted = {one.name: len(trained_runs(client, one)) for one in client.search_experiments()}
    found = [f"{other} ({count})" for other, count in counted.items() if count and other != name]
    whole = [f"the whole experiment ({counted[name]} runs) without sweep="] if counted.get(name) else []
    return f"; there are some in {', '.join(whole + found)}" if whole + found else "; train first"


def entered(client: MlflowClient, runs: list[Run], *, named: bool) -> tuple[list[Entrant], dict[str, str]]:
    """The runs by their stored predictions, and why others were left out. Runs that were `named` must all do."""
    entrants, left_out = [], {}
    for run in each(runs, "read predictions"):
        try:
            entrants.append(entrant(client, run))
        except BadInput as error:
            if named:
                raise
            left_out[finished.label(run)] = str(error)
    for why in left_out.values():
        log.warning("left out: %s", why)
    if not entrants:
        raise BadInput(f"none of the {len(runs)} runs can be compared; the first: {next(iter(left_out.values()))}")
    return entrants, left_out


def entrant(client: MlflowClient, run: Run) -> Entrant:
    """One run, reduced to what ranking needs."""
    val = stored_predictions(run, "val")
    test = score(stored_predictions(run, "test")) if finished.has_predictions(run, "test") else None
    return Entrant(
        run.info.run_id, run.info.run_name, run.data.params, tuple(val.classes), run.data.tags.get("data_digest", ""),
        score(val), test, finished.cost(client, run), finished.typed_keys(run), finished.trained_on(run),
        run.data.tags.get("files_digest", ""),
    )  # fmt: skip


def grouped(client: MlflowClient, entrants: list[Entrant], runs: dict[str, Run], leaders: int) -> list[Group]:
    """The entrants in groups of those that can be ranked together, with what their leaders' `runs` by id left."""
    groups: list[Group] = []
    for members in comparable(entrants):
        group = Group(members, leaders, difference_of_data(groups[0].entrants, members) if groups else "")
        for row in group.leaders[:_CURVES]:
            group.histories[row.name] = finished.history(client, runs[row.first.id])
        for row in group.leaders:
            run = runs[row.first.id]
            if (told := finished.told_of_columns(run)) is not None:
                group.columns[row.name] = told
            taxonomy = finished.taxonomy_of(run)
            for split in () if taxonomy is None else ("val", "test") if row.first.test else ("val",):
                table = rank_accuracy(stored_predictions(run, split), taxonomy)
                for name, accuracy in zip(table["rank"], table["accuracy"], strict=True):
                    group.by_rank.setdefault(name, {}).setdefault(row.name, []).append(float(accuracy))
        group.trained.update(finished.trained_by_class(runs[group.leaders[0].first.id]))
        groups.append(group)
    return groups
