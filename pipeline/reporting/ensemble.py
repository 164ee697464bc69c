"""An ensemble's strategies beside its members: as a table to read, and as files."""

from pathlib import Path

import pandas as pd

from pipeline.data.files import write_csv
from pipeline.ensembles.report import Outcome
from pipeline.reporting.plots import gains
from pipeline.reporting.tables import Table


def strategies_table(outcome: Outcome, chosen: str) -> Table:
    """A row a strategy and a member, percentages; the one chosen is bold, members are dim."""
    scored = [split for split in ("val", "test") if f"{split}_accuracy" in outcome.table]
    rows, styles = [], {}
    for place, row in enumerate(outcome.table.to_dict("records")):
        styles[place] = "bold" if row["name"] == chosen else "dim" if row["kind"] == "member" else ""
        cells = ["", f"{'':17}", ""]
        if row["name"] != outcome.best_member:
            ends = f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
            cells = [f"{100 * row['gain']:+6.2f}", f"{ends:>17}", f"{row['p_holm']:.3f}"]
        rows.append([row["name"], *(f"{100 * row[f'{split}_accuracy']:6.2f}" for split in scored), *cells])
    figures = [*scored, "gain", "interval", "p (Holm)"]
    title = f"accuracy in %; gain on {outcome.split} over the best member, 95 % interval"
    return Table(["best by val first", *figures], rows, figures, title=title, styles=styles)


def description(outcome: Outcome) -> str:
    """All figures as MLflow shows them in a run's description."""
    figures = outcome.table.drop(columns=["name", "kind"])
    rows = [["" if pd.isna(cell) else f"{cell:.4f}" for cell in row] for row in figures.itertuples(index=False)]
    names = outcome.table["name"]
    return Table(["", *figures], [[name, *row] for name, row in zip(names, rows, strict=True)]).markdown()


def write_strategies(folder: Path, outcome: Outcome, chosen: str) -> None:
    """Write `strategies.csv` and `strategies.png`."""
    write_csv(outcome.table, folder / "strategies.csv")
    figure = gains(outcome.table, best=outcome.best_member, chosen=chosen, split=outcome.split)
    figure.savefig(folder / "strategies.png")
