"""What came of a sweep, on the terminal: its jobs best first, the mean over seeds and folds, what to type next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.wording import counted, duration, percent, size
from pipeline.comparison.repeats import over_repeats
from pipeline.config.keys import REPEATS
from pipeline.experiment.forecast import Forecast, read_forecasts
from pipeline.reporting.tables import Table
from pipeline.reporting.terminal import console
from pipeline.tracking.finished import minutes
from pipeline.tracking.liveness import KILLED
from pipeline.tracking.selection import CHOOSE_BY, PRUNED
from pipeline.tracking.sweeps import Outcome


def show(outcome: Outcome) -> None:
    """The table of a sweep, best first, why jobs failed, and what to type next."""
    screen = console()
    swept = swept_values(outcome.jobs)
    columns = sorted({key for values in swept for key in values})
    judged = [job.data.tags.get("verdict.kind", "") for job in outcome.jobs]
    verdicts = ["verdict"] if any(kind not in ("", "sound") for kind in judged) else []
    heads = [*columns, "val", "epoch", "test", "minutes", "status", *verdicts]
    body = []
    for job, values, kind in zip(outcome.jobs, swept, judged, strict=True):
        metrics = job.data.metrics
        body.append(
            [
                *(values.get(key, "") for key in columns),
                percent(metrics.get(CHOOSE_BY), 2),
                f"{metrics['best/epoch']:.0f}" if "best/epoch" in metrics else "",
                percent(metrics.get("test/accuracy"), 2),
                f"{minutes(job):.1f}",
                PRUNED if PRUNED in job.data.tags else job.info.status.lower(),
                *([kind] if verdicts else []),
            ]
        )
    table = Table(heads, body, heads[len(columns) :])
    if left_out := table.show(screen, spare=("epoch", "minutes", "verdict")):
        print(f"for want of room without {' and '.join(left_out)}; mlflow ui has all")
    if (summed := over_repeats_table(outcome.jobs, swept)) is not None:
        summed.show(screen)
    for job in outcome.under_way:
        print(f"under way in another process: {job.info.run_name}")
    for job in outcome.failed:
        again = "stopped; the same command again goes on with it"
        error = job.data.tags.get("error", again if job.info.status == KILLED else "see its messages above")
        print(f"failed: {error if error.startswith(job.info.run_name) else f'{job.info.run_name}: {error}'}")
    if any(CHOOSE_BY in job.data.metrics for job in outcome.jobs):
        print(f"next: python -m pipeline.compare sweep={outcome.parent}    to see what mattered, and how sure that is")
        print(f"or:   python -m pipeline.promote sweep={outcome.parent}    to serve the best (or look: mlflow ui)")


def show_forecasts(folder: Path, jobs: list[str], budget: float | None = None) -> bool:
    """What each job of a sweep will take, all together, and which do not fit into a budget of so many seconds.

    False where a job could not say.
    """
    found = read_forecasts(folder)
    left = [one for one in found if not one.found]
    passes = {key: seconds for one in left for key, seconds in one.passes.items()}  # of which jobs share some
    features = {key: amount for one in left for key, amount in one.features.items()}
    rows = [[one.job, *_cells(one)] for one in found]
    Table(["job", "time", "memory", "disk"], rows, ["memory", "disk"]).show(console())
    seconds, kept = sum(one.seconds for one in left), sum(one.kept for one in left)
    done = f", {len(found) - len(left)} of them done already" if len(left) < len(found) else ""
    print(
        f"forecast of {counted(len(found), 'job')}{done}: {duration((seconds + sum(passes.values())) / 60)} one after "
        f"the other, at most {size(max((one.memory for one in left), default=0))} of memory, "
        f"{size(kept + sum(features.values()))} on disk "
        f"({size(max((one.meanwhile for one in left), default=0))} more while a job trains)"
    )
    if budget is not None:
        print(f"trainer.time_budget={duration(budget / 60)}: {_fitting(left, budget)}")
    return len(found) == len(jobs) or not jobs


def _fitting(left: list[Forecast], budget: float) -> str:
    """How many of the jobs, one after the other, end within so many seconds."""
    spent, known = 0.0, set[str]()
    for number, one in enumerate(left):
        spent += one.seconds + sum(seconds for key, seconds in one.passes.items() if key not in known)
        known |= one.passes.keys()
        if spent > budget:
            return f"the first {counted(number, 'job')} will fit, {len(left) - number} will not (from {one.job} on)"
    return "all of it will fit"


def _cells(one: Forecast) -> list[str]:
    if one.found:
        return ["done already", "", ""]
    seconds = sum([one.seconds, *one.passes.values()])
    return [duration(seconds / 60), size(one.memory), size(one.kept + sum(one.features.values()))]


def over_repeats_table(jobs: list[Any], swept: list[dict[str, str]]) -> Any:
    """Where seeds or folds were swept: each choice in one row, mean and spread. Else nothing."""
    if not jobs:
        return None
    columns = sorted({key for values in swept for key in values})
    repeated, keys = [key for key in columns if key in REPEATS], [key for key in columns if key not in REPEATS]
    measures = {"val": CHOOSE_BY, "test": "test/accuracy"}
    runs = pd.DataFrame(
        {key: values.get(key, "") for key in keys}
        | {name: job.data.metrics.get(metric) for name, metric in measures.items()}
        for job, values in zip(jobs, swept, strict=True)
    )
    scored = [name for name in measures if runs[name].notna().any()]
    if not repeated or "val" not in scored:
        return None
    summed = {name: over_repeats(runs, keys, name) for name in scored}
    heads, body = [*keys, *(f"{name}: mean ± sd" for name in scored), "n"], []
    for row in summed["val"].to_dict("records"):
        cells = []
        for name in scored:
            same = summed[name]
            for key in keys:
                same = same[same[key] == row[key]]
            cells += [_mean_and_spread(one) for one in same.to_dict("records")] or [""]
        body.append([*(row[key] for key in keys), *cells, f"{row['n']}"])
    return Table(heads, body, heads[len(keys) :], title=f"over {', '.join(repeated)}")


def _mean_and_spread(row: dict[str, Any]) -> str:
    spread = "" if row["n"] < 2 else f" ± {100 * row['sd']:.2f}"
    return f"{100 * row['mean']:.2f}{spread} %"


def swept_values(jobs: list[Any]) -> list[dict[str, str]]:
    """What sets each job apart: its overrides without those that all have alike."""
    given = [dict(one.partition("=")[::2] for one in shlex.split(job.data.tags.get("overrides", ""))) for job in jobs]
    alike = set.intersection(*(set(one.items()) for one in given)) if len(given) > 1 else set()
    return [{key: value for key, value in one.items() if (key, value) not in alike} for one in given]
