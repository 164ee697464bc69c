"""Tables in terminals of any width."""

import pytest
from rich.console import Console

from pipeline.reporting.terminal import show_table

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
    assert show_table(screen, HEADS, BODY, names=2, spare=("parameters", "time")) == left_out
    said = capsys.readouterr().out
    assert "…" not in said
    assert all(len(line) <= width for line in said.splitlines())
    for value in ("99.2 % [97.5, 100.0]", "9.2 % [7.5, 10.0]"):
        assert value in said
    cells = [line.strip("│┃ ").split("│")[0].strip() for line in said.splitlines() if line.startswith("│")]
    assert "".join(cells).replace(" ", "") == "efficientnet_v2_sa[bold]networkofaverylongname"
