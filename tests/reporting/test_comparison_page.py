"""The page of a comparison, from a store of finished runs, as a reader meets it."""

import re
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from stored import finished

from pipeline.reporting.comparison import curves


def page_of(monkeypatch, tmp_path):
    """The page of all runs, and what of it is text."""
    from pipeline.compare import main

    monkeypatch.setattr(sys, "argv", ["compare"])
    main()
    html = (tmp_path / "comparison.html").read_text()
    return html, " ".join(re.sub(r"<[^>]+>", " ", html.partition("</style>")[2]).split())


@pytest.mark.parametrize("runs", [1, 2])
def test_choices_that_vary_together_are_one_row_and_a_lone_run_has_none(runs, store, monkeypatch, tmp_path):
    heads = {"torchvision/resnet18": "linear", "torchvision/alexnet": "mlp"}
    for place, (model, head) in enumerate(list(heads.items())[:runs]):
        finished(model__name=model, head__name=head, signal=1 + 2 * place)
    _, text = page_of(monkeypatch, tmp_path)
    assert ("Which choice mattered" in text) == (runs == 2)
    if runs == 2:
        assert text.count("model + head") == 2  # what mattered most, and its row
        assert "alexnet + mlp" in text
        assert "cannot be told, as they vary only together" in text


def test_runs_with_long_names_keep_their_own_curves(store, monkeypatch, tmp_path):
    network = "timm/vit_base_patch16_clip_quickgelu_224.openai_ft_in12k_in1k"
    for number, rate in enumerate((0.1, 0.2, 0.3)):
        finished(model__name=network, regime__name=f"regime{number // 2}", optimizer__lr=rate, signal=1 + number)
    finished(model__name="torchvision/resnet18", signal=0)
    html, text = page_of(monkeypatch, tmp_path)
    curves = html[html.index("Learning curves of the best 3") :]
    for place in (1, 2, 3):
        assert re.search(rf">{place}\s+vit_base_patch16_clip", curves)
    assert network.partition("/")[2] in text  # the leaderboard has the whole name


def test_runs_of_one_epoch_have_no_curve():
    epoch = pd.DataFrame([{"epoch": 1, "val/loss": 1.0}])
    row = SimpleNamespace(name="net")
    fitted = SimpleNamespace(histories={"net": epoch}, ranking=SimpleNamespace(rows=[row]))
    assert curves(fitted) is None
    fitted.histories["net"] = pd.concat([epoch, epoch.assign(epoch=2)])
    assert curves(fitted) is not None


def test_an_effect_is_set_beside_what_seeds_alone_do(store, monkeypatch, tmp_path):
    for seed in (0, 1):
        for rate in (0.1, 0.2):
            finished(optimizer__lr=rate, seed=seed)  # the same predictions whatever the rate
    _, text = page_of(monkeypatch, tmp_path)
    assert "What mattered most: optimizer.lr (0.0 points" in text
    assert re.search(r"no more than the \d+\.\d of seed, which is chance", text)
