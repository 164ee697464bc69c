"""A study written up: its folder, what it says, and where nothing is written."""

import re

import pandas as pd
import pytest
from stored import finished, predictions

from pipeline.commands.report import is_report
from pipeline.comparison.entrants import Entrant
from pipeline.comparison.settings import LIBRARY, OURS, STATED, settings
from pipeline.config import schema
from pipeline.models.shelf import shelf
from pipeline.reporting.methods import Methods
from pipeline.reporting.references import cited, entries, of_preprint
from pipeline.reporting.study import _caption, plain
from pipeline.reporting.tables import Table
from pipeline.tracking.compared import compared


@pytest.fixture
def study(store):
    """Two networks, one setting stated; published weights."""
    for name, signal in (("torchvision/mobilenet_v2", 2.0), ("torchvision/resnet18", 1.0)):
        finished(
            model__name=name, model__weights="DEFAULT", regime__weights="pretrained", regime__trains="all",
            head__name="linear", signal=signal, optimizer__betas="[0.9, 0.999]", data__source="cub200",
            tags={"overrides": f"model={name} optimizer.lr=0.001", "git_sha": "0" * 40, "version.torch": "2.15.0",
                  "version.python": "3.11"},
        )  # fmt: skip


def test_a_study_is_written_up_from_its_runs(study, store, typed, tmp_path, capsys, monkeypatch):
    assert typed("report", "output=report") == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Two networks were compared (stated): " in text
    assert "MobileNetV2 [@sandler2018mobilenetv2] (" in text
    assert "AdamW [@loshchilov2019decoupled] (" in text
    assert "a learning rate of 0.001 (stated)" in text
    assert "| `optimizer.betas` | [0.9, 0.999] | the library's default |" in text
    assert "22 to 23 test pictures" in text
    board = pd.read_csv(tmp_path / "report" / "tables" / "leaderboard.csv")
    best = board.iloc[0]
    assert f"{100 * best['test_accuracy']:.1f} % [{100 * best['test_low']:.1f}, {100 * best['test_high']:.1f}]" in text
    assert "60 pictures of val and 90 of test" in text
    files = {file.name for file in (tmp_path / "report" / "figures").iterdir()}
    assert {"curves.pdf", "curves.svg", "confusion.pdf", "confusion.svg", "cost1.pdf", "cost1.svg"} <= files
    assert all(f"figures/{name}" in text for name in files if name.endswith(".svg"))
    latex = (tmp_path / "report" / "tables" / "leaderboard.tex").read_text()
    assert latex.count(r"\\") == 2 + len(board)
    works = (tmp_path / "report" / "references.bib").read_text()
    assert set(re.findall(r"@\w+\{([^,]+),", works)) == set(cited(text)) >= {"wah2011cub", "he2016deep"}
    assert "glyph" not in capsys.readouterr().err
    # written anew over an earlier one, also one that was not finished, and not over anything else
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.reporting.study.bibtex", lambda _: 1 / 0)
        assert typed("report", "output=report") == 1
    assert "## Methods" not in (tmp_path / "report" / "report.md").read_text()
    assert is_report(tmp_path / "report" / "report.md")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert typed("report", "output=mine") == 2
    assert typed("report", "output=nowhere/report") == 2
    assert typed("report", "output=mine/thesis.txt") == 2
    assert typed("report", "sweep=latest", "output=other") == 2
    assert not (tmp_path / "other").exists()


def test_one_test_part_of_several_splits_has_intervals_over_pictures(store):
    for seed in (0, 1):
        finished(val=predictions(start=60 * seed), seed=0, data__split__seed=str(seed))
    asked = schema.Report(tracking={"experiment": "birds"}, sweep=None, runs=None, leaders=5, output="report")
    _, by_id, _, _, (group,), looks = compared(store, asked)
    assert "120 pictures of val (2 splits together) and 90 of test" in _caption(group)
    assert "over splits (test: over pictures)" in _caption(group)
    text = Methods(group, {one: run.data.tags for one, run in by_id.items()}).text(looks)
    assert "[@nadeau2003inference]; test is the same in all splits, and its" in text


def entrant(typed=(), **choices):
    plain = {key.replace("__", "."): value for key, value in choices.items()}
    return Entrant("id", "name", plain, ("a",), "", None, typed=frozenset(typed))


def test_each_setting_has_its_source():
    given = {"optimizer__name": "adamw", "optimizer__lr": "0.5", "optimizer__eps": "1e-08", "trainer__batch_size": "32",
             "head__name": "linear", "trainer__num_workers": "3", "data__crop_margin": "0.1"}  # fmt: skip
    found = {one.key: one.source for one in settings([entrant(["optimizer.lr"], **given)])}
    assert found["optimizer.lr"] == STATED
    assert found["optimizer.eps"] == LIBRARY
    assert found["trainer.batch_size"] == OURS
    assert not {"trainer.num_workers", "data.crop_margin"} & set(found)  # what changes no figure, or is not used
    fitted = [one.key for one in settings([entrant(**given | {"head__name": "logistic"})])]
    assert "optimizer.lr" not in fitted
    studied = settings([entrant(["experiment"], trainer__batch_size="7")])
    assert [one.source for one in studied] == [STATED]


def test_works_are_found_by_their_preprint_and_are_whole():
    assert of_preprint("MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381)") == ["sandler2018mobilenetv2"]
    assert of_preprint("arXiv:0000.00000") == []
    for one in shelf():
        assert not re.search("arXiv:", one.what) or of_preprint(one.what), one.answer
    for key, entry in entries().items():
        assert entry.count("{") == entry.count("}"), key
        assert all(f" {field}={{" in entry for field in ("author", "title", "year")), key


def test_a_table_for_latex_is_text_as_it_stands():
    rows = [["50 % & more", "1"], ["x^2~\\", "2"], ["[a|b] --\n<c>", '"−3"']]
    made = Table(["a_b", "n"], rows, ["n"]).latex("100 %", "tab:x")
    assert r"a\_b & n \\" in made
    assert r"50 \% \& more & 1 \\" in made
    assert r"x\textasciicircum{}2\textasciitilde{}\textbackslash{} & 2 \\" in made
    assert r"\begin{tabular}{lr}" in made
    # a bracket after a line's end would be its argument, and quotation marks are letters to German
    assert r"{}[a\textbar{}b] -{}- \textless{}c\textgreater{} & {\char34}$-$3{\char34} \\" in made


def test_names_are_no_markup_and_cite_nothing():
    text = plain("*x* [@he2016deep]\n| <b> `y` $1$ a_b _c_")
    assert text == r"\*x\* [\@he2016deep] \| \<b> \`y\` \$1\$ a_b \_c\_"
    assert cited(text) == []
