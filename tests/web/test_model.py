"""The page of a model: its figures, what it is good and bad at, and what its run left."""

import re

import pandas as pd
import pytest

from pipeline.web.pages.model import _ends

EVIL = "<img src=x onerror=alert(1)>"


def run_of(page):
    return page.get("/api/models").json()[0]["run_id"]


def test_a_model_shows_its_figures_and_classes(trained, open_page):
    page = open_page()
    html = page.get("/model").text
    measured = page.get("/api/models/birds/1").json()["figures"]
    for one in measured:
        share = one["shares"]["accuracy"]
        assert f"<b>{100 * share['value']:.1f}\N{NO-BREAK SPACE}%</b>" in html
        assert f"({100 * share['low']:.1f}\N{NO-BREAK SPACE}% to {100 * share['high']:.1f}\N{NO-BREAK SPACE}%)" in html
    assert "<bdi>Wren</bdi>" in html
    [at] = re.findall('href="(/model/card[^"]*)"', html)
    card = page.get(at)
    assert f"| {100 * measured[0]['shares']['accuracy']['value']:.1f} % |" in card.text
    assert "birds 1.md" in card.headers["content-disposition"] or "birds%201.md" in card.headers["content-disposition"]
    assert page.get(f"/model/card?model={run_of(page)}").status_code == 404  # a training has none
    assert EVIL not in html
    assert str(trained) not in html
    assert "Chochín" in page.get("/model?lang=es").text
    assert "birds 1" in page.get(f"/model?model={run_of(page)}").text  # among those to choose from


@pytest.mark.parametrize(
    ("shares", "bad", "good"),
    [
        ([0.9, 0.95], [0.9], [0.95]),
        ([0.5, 1, 1], [0.5], [1, 1]),
        ([1, 1], [], [1, 1]),
        ([0.5], [0.5], []),
        ([0.9, 0.9], [0.9], []),
        ([0, 0, 0, 0, 1], [0, 0, 0], [1]),
        ([], [], []),
    ],
)
def test_no_class_is_both_good_and_bad(shares, bad, good):
    found = _ends(pd.DataFrame({"share": shares}))
    assert [list(some["share"]) for some in found] == [bad, good]


def test_what_a_run_left_is_shown_without_scripts_and_nothing_else_of_the_disk(trained, open_page):
    page = open_page()
    run = run_of(page)
    mistakes = page.get(f"/runs/{run}/mistakes.html")
    assert mistakes.status_code == 200
    assert mistakes.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert page.get(f"/runs/{run}/curves.png").headers["content-type"] == "image/png"
    for path in (
        f"/runs/{run}/config.yaml", f"/runs/{run}/split.csv", f"/runs/{run}/../../../mlflow.db",
        f"/runs/{run}/..%2f..%2f..%2fmlflow.db", "/runs/%2e%2e/mistakes.html", f"/runs/{'0' * 32}/mistakes.html",
        f"/runs/{run}/checkpoints%2fbest.json", "/static/../server.py", "/static/..%2fserver.py",
        "/static/%2fetc%2fpasswd",
    ):  # fmt: skip
        assert page.get(path).status_code == 404, path


def test_a_model_whose_files_are_gone_is_told_of_and_another_answers(trained, open_page):
    [served] = trained.glob("mlruns/*/models")
    away = served.rename(served.with_name("away"))
    try:
        page = open_page()
        shown = page.get("/")
        assert shown.status_code == 200
        assert 'role="alert"' in shown.text
        assert f'name="model" value="{page.get("/api/models").json()[1]["run_id"]}"' in shown.text
        html = page.get("/model", headers={"accept": "text/html"})
        assert html.status_code == 410
        assert "<option" in html.text
    finally:
        away.rename(served)


def test_without_a_model_the_page_says_what_to_do(open_page):
    page = open_page()
    assert "There is no model yet" in page.get("/model").text
    assert page.get("/model?model=birds/1").status_code == 404
