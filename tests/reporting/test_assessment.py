"""An assessment as people see it: in the terminal and as files."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipeline.evaluation.assessment import assess
from pipeline.reporting.assessment import summary_table, write_assessment


@pytest.fixture
def titles(monkeypatch):
    """The titles of the panels of each figure that is saved, by its file."""
    found = {}

    def note(figure, file, **_):
        found[Path(file).name] = [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")]

    monkeypatch.setattr(Figure, "savefig", note)
    return found


@pytest.mark.parametrize(
    ("temperature", "said", "panels"),
    [
        (None, "", ["as it is: "]),
        (1.0, "stays as it is (temperature 1.00)", ["as it is, temperature 1.00: "]),
        (1.0049, "stays as it is (temperature 1.00)", ["as it is, temperature 1.00: "]),
        (1.3, "after temperature 1.30: ", ["as it is: ", "temperature 1.30: "]),
    ],
)
def test_a_temperature_is_told_of_as_a_change_where_it_is_one(
    temperature, said, panels, make_predictions, titles, tmp_path
):
    test = make_predictions(200, 4, seed=2)
    found = replace(assess(test, make_predictions(200, 4, seed=1)), temperature=temperature)
    rows = dict(summary_table(found).rows)
    for name in ("calibration error", "log loss"):
        figure, _, rest = rows[name].partition("   ")
        assert float(figure) > 0
        assert rest.startswith(said)
        assert bool(rest) == bool(said)
    write_assessment(tmp_path, "test", test, found)
    shown = [title for title in titles["reliability.png"] if title]
    assert len(shown) == len(panels)
    assert all(title.startswith(panel) for title, panel in zip(shown, panels, strict=True))
