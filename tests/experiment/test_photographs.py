"""The page of what a network got wrong: of a run, of an evaluation, and of a sweep's leaders, as typed."""

from html import escape

import numpy as np
import pytest
from PIL import Image

from pipeline.predictions.parquet import read_predictions
from pipeline.tracking.finished import artifact_folder

QUICK = (
    "data=folder", "model=squeezenet", "regime=scratch", "augmentation=none", "trainer.epochs=1",
    "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.precision=fp32",
    "data.image_size=32", "trainer.batch_size=8",
)  # fmt: skip


@pytest.fixture
def photos(tmp_path):
    for number in range(40):
        file = tmp_path / "photos" / ("ant", "<script>bee")[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"


def finished(store, stage):
    experiment = store.get_experiment_by_name("photos").experiment_id
    return store.search_runs([experiment], f"tags.stage = '{stage}'")


def page_of(run):
    return (artifact_folder(run, "") / "mistakes.html").read_text(encoding="utf-8")


def thumbnails_of(page):
    return page.count("<img") - page.count('<img alt="where the network looked"')


def test_a_run_and_an_evaluation_have_their_page(photos, store, typed):
    assert typed("train", *QUICK, f"data.root={photos}") == 0
    [run] = finished(store, "train")
    answers = read_predictions(artifact_folder(run, "predictions") / "test.parquet")
    wrong = answers.ids[~answers.correct].tolist()
    assert wrong
    page = page_of(run)
    assert all(path.replace("<", "&lt;").replace(">", "&gt;") in page for path in wrong)
    assert "<script" not in page
    assert str(photos) not in page
    assert page.count('class="twin"') >= len(wrong)
    before = thumbnails_of(page)
    (photos / wrong[0]).unlink()
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(photos / wrong[1])  # another picture of the same name
    assert typed("evaluate", f"run={run.info.run_id}", "trainer.num_workers=0", "tracking.heat_maps=false") == 0
    [evaluated] = finished(store, "evaluate")
    now = page_of(evaluated)
    not_shown = sum(page.count(f"<small>{escape(path)}</small>") for path in wrong[:2])
    assert "where the network looked" not in now
    assert now.count("gone, changed or unreadable now") == not_shown == before - thumbnails_of(now)


def test_of_a_sweep_the_leaders_have_one_once_they_are_compared(photos, store, typed):
    assert typed("train", "-m", *QUICK, f"data.root={photos}", "seed=0,1") == 0
    runs = [run for run in finished(store, "train") if "mlflow.parentRunId" in run.data.tags]
    files = [{file.path for file in store.list_artifacts(run.info.run_id)} for run in runs]
    assert not any("mistakes.html" in found for found in files)
    answers = read_predictions(artifact_folder(runs[0], "predictions") / "test.parquet")
    for path in answers.ids:
        Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(photos / path)
    assert typed("compare", "sweep=latest") == 0
    drawn = [run for run in runs if "mistakes.html" in {file.path for file in store.list_artifacts(run.info.run_id)}]
    assert len(drawn) == 1  # the two seeds are one row
    assert "Most confident errors" in page_of(drawn[0])
    assert "<img" not in page_of(drawn[0])  # what lies there now is not what was answered for
