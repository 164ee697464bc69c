"""One table for terminals of any width, for Markdown and for pages."""

import pandas as pd
import pytest
from rich.console import Console

from pipeline.reporting import page
from pipeline.reporting.tables import Table

HEADS = ["model", "optimizer.lr", "val (95 %)", "n", "time", "parameters"]
BODY = [
    ["efficientnet_v2_s", "0.003", "99.2 % [97.5, 100.0]", "2", "2 s", "20.2 M"],
    ["a [bold] network of a very long name", "0.001", "9.2 % [7.5, 10.0]", "2", "31 min", "1.2 M"],
]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(160, []), (115, []), (100, ["parameters"]), (80, ["parameters", "time"]), (50, ["parameters", "time"])],
)
def test_what_matters_least_goes_first_and_nothing_is_cut(width, left_out, capsys):
    screen = Console(width=width, force_terminal=False)
    assert Table(HEADS, BODY, HEADS[2:]).show(screen, spare=("parameters", "time")) == left_out
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(len(line) <= width for line in said.splitlines())
    for value in ("99.2 % [97.5, 100.0]", "9.2 % [7.5, 10.0]"):
        assert value in said
    cells = [line.strip("│┃ ").split("│")[0].strip() for line in said.splitlines() if line.startswith("│")]
    assert "".join(cells).replace(" ", "") == "efficientnet_v2_sa[bold]networkofaverylongname"


def test_a_table_without_heads_and_with_a_title(capsys):
    Table(["", ""], [["accuracy", "9 %"], ["[b]", "1"]], title="figures").show(Console(width=40, force_terminal=False))
    said = capsys.readouterr().out
    assert "figures" in said
    assert "│ accuracy │ 9 % │" in said
    assert "│ [b]      │ 1   │" in said


def test_markdown_keeps_its_columns():
    made = Table(["model", "val"], [["a|b", "1 %"], [r"c\|d", "2 %"]]).markdown()
    assert made == "| model | val |\n| --- | --- |\n| a\\|b | 1 % |\n| c\\|d | 2 % |"


def test_a_frame_on_a_page_has_its_numbers_to_the_right_and_says_what_it_leaves_out():
    frame = pd.DataFrame({"name": ["<b>", "x", "y"], "n": [12_345, 1, 2], "share": [0.12345, float("nan"), 3.0]})
    html = page.table(frame, most=2)
    assert '<th scope="col">name</th><th scope="col" class="n">n</th>' in html
    assert '<tr><td>&lt;b&gt;</td><td class="n">12,345</td><td class="n">0.123</td></tr>' in html
    assert '<tr><td>x</td><td class="n">1</td><td class="n"></td></tr>' in html
    assert html.endswith('<p class="note">and 1 more</p>')
    assert "more" not in page.table(frame)
    assert page.table(frame.head(0)) == ""
