"""Write a study up, from its runs alone:   python -m pipeline.report sweep=latest output=report"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from shlex import quote

from mlflow import MlflowClient

from pipeline.cli.output import check_folder
from pipeline.cli.quoting import typed_overrides
from pipeline.config import schema
from pipeline.reporting.comparison import Comparison
from pipeline.reporting.study import MARK, PAGE, write_study
from pipeline.tracking.compared import compared
from pipeline.tracking.finished import stored_predictions, taxonomy_of
from pipeline.tracking.runs import git_sha
from pipeline.tracking.store import Store

log = logging.getLogger("pipeline.report")


def run(config: schema.Report) -> Path:
    """Rank the runs as `compare` does, and write methods, tables, figures and references into a folder."""
    folder = check_folder(config.output, PAGE, is_earlier=is_report).resolve()
    Store().open()
    client = MlflowClient()
    title, by_id, _, left_out, groups, looks = compared(client, config)
    typed = " ".join(["python -m pipeline.report", *map(quote, typed_overrides())])
    made = f"Made on {datetime.now().astimezone():%Y-%m-%d} by `{typed}`; commit {git_sha()[:12]}."
    best = [by_id[group.ranking.rows[0].first.id] for group in groups]
    answers = [stored_predictions(run, group.shown_split) for run, group in zip(best, groups, strict=True)]
    folder.mkdir(exist_ok=True)
    page = write_study(
        folder, Comparison(title, groups, left_out, looks, [made]), {one: run.data.tags for one, run in by_id.items()},
        answers, [taxonomy_of(run) for run in best],
    )  # fmt: skip
    log.info("report: %s, with its tables, figures and references beside it", page)
    return page


def is_report(page: Path) -> bool:
    """Whether a file is the page of an earlier report."""
    return page.is_file() and MARK in page.read_text(encoding="utf-8", errors="replace")
