"""Where a network looks: the command as typed, on finished runs with small networks."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from stored import CLASSES, finished

from pipeline.commands.explain import of_run
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import Classifier
from pipeline.models.saved import read_facts, save_best
from pipeline.serving.calibrating import calibrated_on
from pipeline.tracking.finished import artifact_folder, stored_predictions
from pipeline.tracking.selection import find_run


@pytest.fixture
def photos(tmp_path):
    chance = np.random.default_rng(0)
    for name in ("b/one.png", "two.png", "<i>three.png"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(file)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def trained(store, seed=0):
    torch.manual_seed(seed)
    run = finished(model__name="torchvision/squeezenet1_1", seed=seed)
    folder = artifact_folder(find_run(store, run), "checkpoints")
    facts = read_facts(folder)
    save_best(folder, Classifier(facts.spec), facts)
    return run


def test_a_page_and_a_picture_of_each(photos, store, tmp_path, typed, capsys):
    run = trained(store)
    assert typed("explain", f"run={run}", f"images={photos}", "output=looks", "layers=1") == 0
    assert "skipped" in capsys.readouterr().out
    files = sorted(file.name for file in (tmp_path / "looks").iterdir())
    assert files == ["00001_<i>three.jpg", "00002_one.jpg", "00004_two.jpg", "looks.html"]
    page = (tmp_path / "looks" / "looks.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;three.png" in page
    assert "<i>three" not in page
    assert "b/one.png" in page
    assert str(photos) not in page
    assert page.count('alt="squeezenet1_1"') == 3
    assert page.count('alt="activation maps of') == 2  # of one picture: the first layer's, and the last map's
    assert page.count('alt="filters of torchvision/squeezenet1_1"') == 1
    before = (tmp_path / "looks" / "00004_two.jpg").read_bytes()
    # The same folder again, and the evidence for another class.
    assert typed("explain", f"run={run}", f"images={photos}", "output=looks", f"label={CLASSES[1]}", "layers=0") == 0
    page = (tmp_path / "looks" / "looks.html").read_text(encoding="utf-8")
    assert "activation maps" not in page
    answered_otherwise = page.count(f"; shown: <bdi>{CLASSES[1]}</bdi>")
    assert (before != (tmp_path / "looks" / "00004_two.jpg").read_bytes()) == (answered_otherwise > 0)


def test_a_run_answers_as_its_model_would(store):
    run = find_run(store, trained(store))
    assert of_run(run.info.run_id)[0].calibration == calibrated_on(stored_predictions(run, "val"))


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_the_other_methods(method, photos, store, tmp_path, typed):
    assert typed("explain", f"run={trained(store)}", f"images={photos / 'two.png'}", f"method={method}") == 0
    assert method.replace("_", " ") in (tmp_path / "looks" / "looks.html").read_text(encoding="utf-8")


def test_of_an_ensemble_each_member_and_the_mean(photos, store, tmp_path, typed):
    trained(store, 0)
    trained(store, 1)
    assert typed("ensemble", "choose=soft_vote") == 0
    (run,) = store.search_runs([store.get_experiment_by_name("birds").experiment_id], "tags.stage = 'ensemble'")
    assert typed("explain", f"run={run.info.run_id}", f"images={photos / 'two.png'}", "layers=0") == 0
    names = {file.name for file in (tmp_path / "looks").iterdir()}
    members = {f"00001_two_squeezenet1_1_{number}.jpg" for number in (1, 2)}
    assert names == {"looks.html", "00001_two.jpg", *members}


def test_what_is_cropped_is_shown_as_it_is_read(store, tmp_path, typed):
    run = trained(store)
    folder = artifact_folder(find_run(store, run), "checkpoints")
    facts = read_facts(folder)
    facts = replace(facts, spec=replace(facts.spec, preprocessing=Preprocessing(32, crop="square")))
    save_best(folder, Classifier(facts.spec), facts)
    pixels = np.zeros((60, 120, 3), np.uint8)
    pixels[:, :60, 0] = pixels[:, 60:, 2] = 255  # left red, right blue
    Image.fromarray(pixels).save(tmp_path / "halves.png")
    (tmp_path / "boxes.csv").write_text("path,box_x,box_y,box_width,box_height\nhalves.png,0.6,0.1,0.3,0.5\n")
    asked = ("explain", f"run={run}", f"images={tmp_path / 'halves.png'}")
    assert typed(*asked, f"beside={tmp_path / 'boxes.csv'}", "layers=0", "output=cut") == 0
    assert typed(*asked, "layers=0", "output=whole") == 0
    whole = np.asarray(Image.open(tmp_path / "whole" / "00001_halves.jpg"))
    page = (tmp_path / "cut" / "looks.html").read_text(encoding="utf-8")
    as_read = base64.b64decode(page.partition('alt="as it is read" src="data:image/jpeg;base64,')[2].partition('"')[0])
    assert np.asarray(Image.open(io.BytesIO(as_read)))[..., 0].max() < 30
    assert whole[..., 0].max() > 200


def test_bad_input_stops_before_any_work(photos, store, tmp_path, typed, capsys):
    run = trained(store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    asked = (f"run={run}", f"images={photos}")
    for more, said in (
        ((f"label={CLASSES[0]}s",), f"label={CLASSES[0]}s: the model knows no such class; did you mean {CLASSES[0]}?"),
        (("output=mine",), "output=mine holds something else than an earlier looks.html"),
        (("output=no/where",), "output=no/where: a folder's name in a folder that is there is wanted"),
        ((f"output={photos}",), f"output={photos} holds something else"),
        (("model=models:/birds@champion",), "run and model both say what to ask: give one of them"),
        (("method=lime",), "method"),
        (("images=nothing.jpg",), "images=nothing.jpg: there is no such file or folder"),
    ):
        assert typed("explain", *asked, *more) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "looks").exists()
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]
