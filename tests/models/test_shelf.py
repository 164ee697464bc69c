"""The shelf as its users see it: the command, and that what the files in conf/model say is so."""

import re

import pytest
import timm

from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import NetworkSpec
from pipeline.models.layers import anatomy
from pipeline.models.published import as_trained
from pipeline.models.shelf import SAID, shelf


@pytest.mark.parametrize("one", shelf(), ids=lambda one: one.answer)
def test_what_a_file_says_of_its_network_is_so(one):
    assert one.what
    assert set(one.said) == set(SAID)
    side = as_trained(one.name, "DEFAULT" if one.weights.startswith("hf-hub:") else one.weights).image_size
    assert one.figure("own size") == side
    found = anatomy(NetworkSpec(one.name, 2, Preprocessing(side)))
    assert one.figure("parameters") == pytest.approx(found.parameters / 1e6, abs=0.05)
    assert one.figure("cost") == pytest.approx(found.operations / 1e9, rel=0.01)


@pytest.mark.parametrize("one", [one for one in shelf() if one.name.startswith("timm/")], ids=lambda one: one.answer)
def test_licence_and_pictures_seen_are_as_timm_says(one):
    facts = timm.get_pretrained_cfg(one.name.removeprefix("timm/"))
    if one.weights.startswith("hf-hub:"):
        return  # weights of others
    assert one.said["licence"].lower().replace(" ", "-") == facts.license
    trained_on_it = re.search(r"in(1|21|22)k", facts.tag) is not None
    assert trained_on_it <= one.said["seen ImageNet"].startswith("yes")


@pytest.fixture(autouse=True)
def _a_wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def models(typed, capsys, *arguments):
    code = typed("models.__main__", *arguments)
    return code, capsys.readouterr()


def test_the_shelf_is_listed_with_what_is_here(typed, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    code, printed = models(typed, capsys)
    assert code == 0
    row = next(line for line in printed.out.splitlines() if "convnextv2t" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "convnextv2t", "27.9", "112", "4.45", "224", "CC BY-NC 4.0", "yes", "no", "-",
    ]  # fmt: skip


def test_a_network_is_shown_with_its_layers_and_blocks(typed, capsys):
    code, printed = models(typed, capsys, "model=squeezenet", "image_size=64")
    assert code == 0
    assert "at 64 pixels, without a classifier: 735,424 parameters (2.9 MB)" in printed.out
    assert "seen iNaturalist: no" in printed.out
    assert any(line.split()[1:6:2] == ["features.12.squeeze", "Conv2d", "64"] for line in printed.out.splitlines())
    assert any(line.split()[1:6:2] == ["9", "features.12", "197,184"] for line in printed.out.splitlines())


def test_any_other_network_is_shown_by_its_name_and_an_unknown_one_refused(typed, capsys):
    assert models(typed, capsys, "model.name=timm/test_vit")[0] == 0
    code, printed = models(typed, capsys, "model.name=timm/test_vid")
    assert code == 2
    assert "did you mean test_vi" in printed.err
