"""Set finished runs side by side:   python -m pipeline.compare sweep=latest"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.common.progress import each
from pipeline.common.wording import counted
from pipeline.comparison.ranking import (
    Entrant,
    Row,
    comparable,
    corrected_best,
    difference_of_data,
    majority,
    pairwise_tests,
    rank,
    run_table,
    score,
)
from pipeline.config import schema
from pipeline.data.files import write_csv
from pipeline.evaluation.taxonomy import rank_accuracy
from pipeline.experiment.photographs import write_mistakes_of
from pipeline.reporting.comparison import Comparison, Group, leaderboard, note, write_page
from pipeline.reporting.mistakes_page import FILE
from pipeline.reporting.terminal import console
from pipeline.tracking.finished import (
    cost,
    count_test_looks,
    has_predictions,
    history,
    label,
    stored_predictions,
    taxonomy_of,
    trained_on,
    typed_keys,
)
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.selection import find_experiment, find_run, find_sweep, trained_runs
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.compare")
_SHOWN = 20  # rows in the terminal; the page has all


def run(config: schema.Compare) -> None:
    """Rank by val from stored predictions, with test beside it: in the terminal, as a page, and in MLflow."""
    output = checked_output(config.output)
    Store().open()
    client = MlflowClient()
    runs, title = chosen(client, config)
    entrants, left_out = entered(client, runs, named=config.runs is not None)
    by_id = {run.info.run_id: run for run in runs}
    comparison = compared(client, title, entrants, by_id, config.leaders)
    comparison.left_out.update(left_out)
    comparison.looks = count_test_looks(client, [by_id[one.id] for one in entrants if one.test])
    show(comparison)  # first, as what follows may not be taken
    draw_mistakes(client, comparison, by_id, config.leaders)
    page, kept = keep(client, config, comparison, runs)
    put_page(output, config.output, page, kept)
    best = max(comparison.groups[0].ranking.rows[0].runs, key=lambda one: one.val.figures["accuracy"])
    which = " of group 1" if len(comparison.groups) > 1 else ""
    log.info("next: python -m pipeline.promote run=%s    to serve the best by val%s", best.id, which)


def checked_output(output: str) -> Path:
    """Where the page goes. BadInput where it cannot."""
    path = expanded(output, "output").resolve()
    if path.is_dir() or path.suffix != ".html":
        raise BadInput(f"output={output}: name a file that ends in .html")
    if not path.parent.is_dir():
        raise BadInput(f"output={output}: the folder {path.parent} is not there")
    return path


def chosen(client: MlflowClient, config: schema.Compare) -> tuple[list[Run], str]:
    """The runs to compare, newest first, and what to call them. BadInput where there is none."""
    if config.runs is not None:
        if config.sweep:
            raise BadInput("runs and sweep both say which runs: give one of them")
        if not config.runs:
            raise BadInput("runs=[] names no run: give their ids, or leave it out for the whole experiment")
        return [find_run(client, one, f"runs: {one}") for one in dict.fromkeys(config.runs)], "chosen runs"
    experiment = find_experiment(client, config.tracking.experiment, config.sweep)
    runs, title = trained_runs(client, experiment, config.sweep), experiment.name
    if config.sweep:
        title = f"{experiment.name}: {find_sweep(client, experiment, config.sweep).info.run_name}"
    if not runs:
        raise BadInput(f"{title} has no finished training run{others(client, experiment.name)}")
    return runs, title


def others(client: MlflowClient, name: str) -> str:
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
            left_out[label(run)] = str(error)
    for why in left_out.values():
        log.warning("left out: %s", why)
    if not entrants:
        raise BadInput(f"none of the {len(runs)} runs can be compared; the first: {next(iter(left_out.values()))}")
    return entrants, left_out


def entrant(client: MlflowClient, run: Run) -> Entrant:
    """One run, reduced to what ranking needs."""
    val = stored_predictions(run, "val")
    test = score(stored_predictions(run, "test")) if has_predictions(run, "test") else None
    data = run.data.tags.get("data_digest", "")
    return Entrant(
        run.info.run_id,
        run.data.params,
        tuple(val.classes),
        data,
        score(val),
        test,
        cost(client, run),
        typed_keys(run),
        trained_on(run),
    )


def compared(
    client: MlflowClient, title: str, entrants: list[Entrant], runs: dict[str, Run], leaders: int
) -> Comparison:
    """The runs ranked in groups of those that can be."""
    groups = comparable(entrants)
    made = [group(client, members, groups[0], runs, leaders) for members in groups]
    return Comparison(title, made)


def group(
    client: MlflowClient, members: list[Entrant], first: list[Entrant], runs: dict[str, Run], leaders: int
) -> Group:
    """Runs on the same pictures: their ranking and all that is read off it."""
    ranking = rank(members)
    rows = ranking.rows[:leaders]
    table, keys = run_table(ranking)
    return Group(
        ranking=ranking,
        runs=table,
        keys=keys,
        baseline=majority(members),
        why_apart="" if members is first else difference_of_data(first, members),
        tests={split: pairwise_tests(rows, split) for split in ("val", "test") if rows[0].first.test or split == "val"},
        histories={row.name: history(client, runs[row.first.id]) for row in rows[:3]},
        by_rank=rank_accuracies(rows, runs),
        corrected=corrected_best(ranking.rows),
        run_names={one: runs[one].info.run_name for row in ranking.rows for one in (run.id for run in row.runs)},
    )


def rank_accuracies(rows: list[Row], runs: dict[str, Run]) -> dict[str, dict[str, list[float]]]:
    """Accuracy at each rank of the taxonomy, for each leader: val, and test where there is one."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        run = runs[row.first.id]
        taxonomy = taxonomy_of(run)
        if taxonomy is None:
            continue
        for split in ("val", "test") if row.first.test else ("val",):
            table = rank_accuracy(stored_predictions(run, split), taxonomy)
            for name, accuracy in zip(table["rank"], table["accuracy"], strict=True):
                found.setdefault(name, {}).setdefault(row.name, []).append(float(accuracy))
    return found


def show(comparison: Comparison) -> None:
    """The leaderboards in the terminal, and what is to be known about them."""
    screen = console()
    if len(comparison.groups) > 1:
        screen.print(
            f"{len(comparison.groups)} groups of runs on different data or splits: they are not ranked together"
        )
    for number, one in enumerate(comparison.groups, start=1):
        if one.why_apart:
            screen.print(f"\ngroup {number}: {one.why_apart}")
        for line in [*show_leaderboard(screen, one), *one.findings()]:
            screen.print(line)


def show_leaderboard(screen: Console, group: Group) -> list[str]:
    """Print a leaderboard; gives what is to be said of rows and columns that it does not show."""
    table = leaderboard(group)
    rows = table.rows[:-1]  # the last is the most frequent class, of which the findings tell
    left_out = replace(table, rows=rows[:_SHOWN]).show(screen, spare=("parameters", "pictures/s", "time", "sd", "n"))
    notes = []
    if left_out:
        notes.append(f"for want of room without {', '.join(left_out)}; the page has all")
    if len(rows) > _SHOWN:
        notes.append(f"the first {_SHOWN} of {len(rows)} are shown; the page has all")
    if group.ranking.older:
        verb = "is" if len(group.ranking.older) == 1 else "are"
        earlier = counted(len(group.ranking.older), "earlier run")
        notes.append(f"{earlier} of the same config and seed {verb} not counted again")
    return notes


def draw_mistakes(client: MlflowClient, comparison: Comparison, runs: dict[str, Run], leaders: int) -> None:
    """Have each leader's page of mistakes among its artifacts; jobs of a sweep draw none themselves."""
    drawn = 0
    for row in comparison.groups[0].ranking.rows[:leaders]:
        run = runs[row.first.id]
        if any(file.path == FILE for file in client.list_artifacts(run.info.run_id)):
            continue
        try:
            with tempfile.TemporaryDirectory() as scratch:
                write_mistakes_of(run, Path(scratch))
                client.log_artifact(run.info.run_id, str(Path(scratch) / FILE))
        except BadInput as error:
            log.info("no page of mistakes: %s", error)
            continue
        drawn += 1
    if drawn:
        log.info("in MLflow: %s of the photographs that the leaders got wrong (%s)", counted(drawn, "page"), FILE)


def keep(client: MlflowClient, config: schema.Compare, comparison: Comparison, runs: list[Run]) -> tuple[bytes, str]:
    """Put page and tables on the sweep's parent run; where there is none, on a run of their own.

    Gives the page, and the name of that run.
    """
    if config.sweep:
        run = find_sweep(client, find_experiment(client, config.tracking.experiment, config.sweep), config.sweep)
        with tempfile.TemporaryDirectory() as scratch:
            page = write(Path(scratch), comparison)
            client.log_artifacts(run.info.run_id, scratch, "comparison")
        kept = label(run)
    else:
        experiment = client.get_experiment(runs[0].info.experiment_id).name
        tags = {"stage": "compare", "runs": str(len(runs)), "mlflow.note.content": note(comparison)}
        with tracked_run(experiment, name=f"compare {comparison.title}"[:250], tags=tags, params={}) as own:
            folder = own.folder / "comparison"
            folder.mkdir(exist_ok=True)
            page = write(folder, comparison)
            kept = f"{own.name} ({own.id})"
    log.info("in MLflow: %s, under comparison/", kept)
    return page, kept


def write(folder: Path, comparison: Comparison) -> bytes:
    """A leaderboard as CSV for each group, and the page, which is given back."""
    for number, one in enumerate(comparison.groups, start=1):
        write_csv(one.ranking.table, folder / (f"leaderboard{number}.csv" if number > 1 else "leaderboard.csv"))
    write_page(folder / "comparison.html", comparison)
    return (folder / "comparison.html").read_bytes()


def put_page(path: Path, output: str, page: bytes, kept: str) -> None:
    """The page where it was asked for. BadInput, which says where else it is, where that cannot be written."""
    try:
        path.write_bytes(page)
    except OSError as error:
        raise BadInput(
            f"output={output}: it cannot be written ({error.strerror}); the page is in MLflow, under comparison/ of "
            f"{kept}; give output= another place for a copy"
        ) from None
    log.info("page: %s", path)
