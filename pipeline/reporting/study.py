"""A study written up: a folder with the text, its tables, figures and references."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from pipeline.common.wording import counted, p_value, percent, signed
from pipeline.comparison.group import Group
from pipeline.data.files import write_csv
from pipeline.evaluation.metrics import class_report
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.comparison import Comparison, cost_figures, curves, leaderboard
from pipeline.reporting.methods import Methods, Tags, fitted_at_once, has_one_test
from pipeline.reporting.plots import confusion
from pipeline.reporting.references import bibtex, cited
from pipeline.reporting.tables import Table

PAGE, MARK = "report.md", "Written by python -m pipeline.report"
_WEAKEST = 10


def write_study(
    folder: Path, comparison: Comparison, tags: Mapping[str, Tags], best: Sequence[Predictions],
    taxonomies: Sequence[pd.DataFrame | None],
) -> Path:  # fmt: skip
    """Write all of it into a folder that is there; gives the text.

    `tags` are the runs', by id; `best` has of each group what its best run answered to the split that is shown, and
    `taxonomies` what that knows of its classes.
    """
    # Whoever is killed meanwhile leaves no earlier text beside newer tables, and may call this again.
    (folder / PAGE).write_text(f"{MARK}, which did not come to its end.\n", encoding="utf-8")
    for part in ("tables", "figures"):
        (folder / part).mkdir(exist_ok=True)
    parts = [f"# {comparison.title}"]
    for place, (group, answers, taxonomy) in enumerate(zip(comparison.groups, best, taxonomies, strict=True), start=1):
        suffix = f"{place}" if place > 1 else ""
        if len(comparison.groups) > 1:
            parts.append(f"# Group {place}" + (f"\n\nApart for {group.why_apart}." if group.why_apart else ""))
        parts += _of_group(folder, group, Methods(group, tags), answers, taxonomy, comparison.looks, suffix)
    if comparison.left_out:
        parts.append("## Left out\n\n" + "\n".join(f"- {name}: {why}" for name, why in comparison.left_out.items()))
    text = "\n\n".join([*parts, "\n".join(comparison.facts)])
    keys = cited(text)
    (folder / "references.bib").write_text(bibtex(keys), encoding="utf-8")
    text += f"\n\n{counted(len(keys), 'work')} cited as `[@key]`, in `references.bib`.\n\n{MARK}.\n"
    (folder / PAGE).write_text(text, encoding="utf-8")
    return folder / PAGE


def _of_group(
    folder: Path, group: Group, methods: Methods, answers: Predictions, taxonomy: pd.DataFrame | None, looks: int,
    suffix: str,
) -> Iterator[str]:  # fmt: skip
    yield f"## Methods\n\n{methods.text(looks)}"
    yield "## Results"
    table, caption = leaderboard(group), _caption(group)
    _write(folder, f"leaderboard{suffix}", group.ranking.table)
    (folder / "tables" / f"leaderboard{suffix}.tex").write_text(
        table.latex(caption, f"tab:leaderboard{suffix}"), encoding="utf-8"
    )
    yield f"Table 1. {caption}\n\n{_plain(table)}"
    yield plain(" ".join(group.findings()))
    if len(group.ranking.rows) > 1:
        yield from _comparisons(folder, group, suffix)
    yield _classes(folder, group, answers, suffix)
    yield from _figures(folder, group, answers, taxonomy, suffix)
    rows = [[f"`{one.key}`", one.said, one.source] for one in methods.settings]
    _write(folder, f"settings{suffix}", pd.DataFrame([[one.key, one.said, one.source] for one in methods.settings],
                                                      columns=["setting", "answers", "source"]))  # fmt: skip
    yield "## Table S1: settings\n\n" + Table(["setting", "answers", "source"], rows).markdown()


def _caption(group: Group) -> str:
    best = group.ranking.table.iloc[0]
    many = counted(int(best["n_val"]), "picture") + " of val"
    many += f" ({best['splits']:.0f} splits together)" * bool(best["splits"] > 1)
    many += f" and {int(best['n_test']):,} of test" if group.has_test else ""
    over = "over splits" if best["splits"] > 1 else "over pictures"
    over += " (test: over pictures)" * bool(best["splits"] > 1 and has_one_test(group))
    several = "; n is the number of runs, whose mean and standard deviation (sd) are given" * bool(
        (group.ranking.table["n"] > 1).any()
    )
    return (
        f"Accuracy on {many} ({counted(group.baseline['classes'], 'class')}), with 95 % intervals {over}{several}. "
        "Time is that of a whole run; pictures/s is how many it trained on in a second."
    )


def _comparisons(folder: Path, group: Group, suffix: str) -> Iterator[str]:
    pairs = pd.concat([tests.assign(split=split) for split, tests in group.tests.items()], ignore_index=True)
    _write(folder, f"pairs{suffix}", pairs)
    rows = [
        [one["one"], one["other"], one["split"],
         f"{signed(one['difference'])} [{signed(one['low'])}, {signed(one['high'])}]", p_value(one["p_holm"])]
        for one in pairs.to_dict("records")
    ]  # fmt: skip
    heads = ["setting", "against", "pictures", "difference in points (95 %)", "p (Holm)"]
    said = f"The best settings in pairs ({group.test_name}); intervals are each pair's own."
    yield f"Table 2. {said}\n\n{_plain(Table(heads, rows))}"
    if len(group.effects):
        _write(folder, f"effects{suffix}", group.effects)
        rows = [
            [one["choice"], one["answer"], f"{one['runs']}", signed(one["effect"])]
            for one in group.effects.to_dict("records")
        ]
        yield (
            "Table 3. What each answer was worth on val, in points beside the mean run, all else equal.\n\n"
            + _plain(Table(["choice", "answer", "runs", "effect"], rows))
        )


def _classes(folder: Path, group: Group, answers: Predictions, suffix: str) -> str:
    report = class_report(answers)
    _write(folder, f"classes{suffix}", report)
    weak = report[report["recall"] < 1].sort_values("recall", kind="stable").head(_WEAKEST)
    named = "; ".join(
        f"{one['class']} ({percent(one['recall'], 0)} of {one['pictures']})" for one in weak.to_dict("records")
    )
    best = group.ranking.rows[0]
    whole = f"{best.name} ({best.first.name})"
    if not named:
        return plain(f"{whole} named every picture of {group.shown_split} rightly.")
    return plain(f"The classes that {whole} found least often on {group.shown_split}: {named}.")


def _figures(
    folder: Path, group: Group, answers: Predictions, taxonomy: pd.DataFrame | None, suffix: str
) -> Iterator[str]:
    shown = f"{group.shown_split}: {counted(len(answers), 'picture')}"
    drawn = {"confusion": (confusion(answers, taxonomy=taxonomy, title=shown),
                           f"Confusion of {group.ranking.rows[0].name} ({shown}).")}  # fmt: skip
    if (figure := curves(group)) is not None:
        drawn["curves"] = (figure, f"Learning curves of the {len(group.histories)} best settings, one run each.")
    elif fitted_at_once(group):
        yield "There are no learning curves: every head was fitted at once."
    for number, figure in enumerate(cost_figures(group), start=1):
        drawn[f"cost{number}"] = (figure, f"Val accuracy, with 95 % intervals, against {figure.axes[0].get_xlabel()}.")
    for place, (name, (figure, said)) in enumerate(drawn.items(), start=1):
        save(figure, folder / "figures" / f"{name}{suffix}")
        yield f"![Figure {place}. {said}](figures/{name}{suffix}.svg)"


def plain(text: str) -> str:
    """Text that Markdown, and pandoc, show as it stands: a class or a run may be called anything."""
    return re.sub(r"[\\`*<$@~^|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))


def _plain(table: Table) -> str:
    rows = [[plain(cell) for cell in row] for row in table.rows]
    return replace(table, heads=[plain(head) for head in table.heads], rows=rows).markdown()


def save(figure: Figure, stem: Path) -> None:
    """A figure as PDF, with its text as text, and as SVG; the same figure makes the same files."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of each letter
    with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "report"}):
        figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None, "Creator": None})
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None, "Creator": None})


def _write(folder: Path, name: str, table: pd.DataFrame) -> None:
    write_csv(table, folder / "tables" / f"{name}.csv")
