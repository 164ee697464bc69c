"""What a training will take, said before it begins: nothing is kept of it."""

import re

import numpy as np
import pytest
from PIL import Image

from pipeline.common.names import PARENT_VARIABLE

OPTIONS = (
    "data=folder", "data.root=photos", "data.image_size=32", "model=squeezenet", "augmentation=none",
    "trainer.epochs=3", "trainer.num_workers=0", "trainer.batch_size=4", "trainer.precision=fp32", "regime=scratch",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for number in range(40):
        file = tmp_path / "photos" / ("ant", "bee")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)


def megabytes(text, of):
    amount, unit = re.search(rf"([\d.,]+) (MB|GB) {of}", text).groups()
    return float(amount.replace(",", "")) * {"MB": 1, "GB": 1000}[unit]


def test_it_is_said_and_nothing_is_left(typed, tmp_path, capsys):
    assert typed("train", *OPTIONS, "estimate=true") == 0
    assert [one.name for one in tmp_path.iterdir()] == ["photos"]  # no store was made
    (said,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("forecast: ")]
    assert megabytes(said, "of memory") > 100
    assert 2 <= megabytes(said, "on disk") <= 4  # squeezenet without its classifier: 0.7 M parameters
    assert megabytes(said, "more while") > 2 * megabytes(said, "on disk")  # two states with the optimizer's moments


def test_jobs_of_a_sweep_are_summed_without_those_done(store, typed, tmp_path, capsys):
    assert typed("train", *OPTIONS, "seed=1") == 0
    before = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
    capsys.readouterr()
    assert typed("train", "-m", *OPTIONS, "seed=1,2,3", "estimate=true") == 0
    said = capsys.readouterr().out
    assert re.search(r"seed=1 +│ done already", said)
    assert "forecast of 3 jobs, 1 of them done already: " in said
    after = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
    assert [run.info.run_id for run in after] == [run.info.run_id for run in before]


def test_what_is_bad_is_said_as_ever(typed, capsys):
    assert typed("train", *OPTIONS, "estimate=true", "resume=abc") == 2
    assert capsys.readouterr().err.startswith("error: estimate=true: what is left of one run is not foretold")
    assert typed("train", "-m", *OPTIONS, "estimate=true", "data.split.val=0.2,2") != 0


def test_a_pass_of_a_frozen_backbone_is_foretold_while_its_features_are_not_kept(store, typed, tmp_path):
    import torch
    from torchvision.models import squeezenet1_0

    from pipeline.common.names import FORECASTS_VARIABLE
    from pipeline.experiment.forecast import read_forecasts

    torch.save(squeezenet1_0().state_dict(), tmp_path / "weights.pth")
    frozen = (*OPTIONS[:-1], "regime=frozen", "model.weights_file=weights.pth")
    folder = tmp_path / "forecasts"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FORECASTS_VARIABLE, str(folder))
        assert typed("train", *frozen, "estimate=true") == 0
        (first,) = read_forecasts(folder)
        assert len(first.passes) == 3
        assert all(seconds > 0 for seconds in first.passes.values())
        assert sum(first.features.values()) == 40 * 512 * 2
    assert typed("train", *frozen) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FORECASTS_VARIABLE, str(folder))
        assert typed("train", *frozen, "seed=5", "estimate=true") == 0
    second = read_forecasts(folder)[-1]
    assert second.passes.keys() == first.passes.keys()
    assert not sum(second.passes.values())
    assert not sum(second.features.values())
