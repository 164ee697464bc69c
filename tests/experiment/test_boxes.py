"""Boxes in pictures: looked at in training, kept features, evaluation, prediction and by a served model."""

import base64
import io
import json

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.data.digest import picture_digests
from pipeline.data.survey.measure import jpegs
from pipeline.experiment.build import picture_table
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.experiment.training import ground
from pipeline.tracking.runs import local_folder

COLOURS = {"ant": (250, 20, 20), "bee": (20, 250, 20), "cat": (20, 20, 250)}
SIDE, ANIMAL = 120, 12  # pixels


def field(folder, name, animals):
    """A grey picture with small squares of colour; their boxes."""
    chance = np.random.default_rng(len(list(folder.glob("*"))))
    pixels = chance.integers(100, 140, (SIDE, SIDE, 3), dtype=np.uint8)
    boxes = []
    for place, animal in enumerate(animals):
        left, top = int(chance.integers(0, 40)) + 60 * place, int(chance.integers(0, 100))
        pixels[top : top + ANIMAL, left : left + ANIMAL] = COLOURS[animal]
        boxes.append([left, top, ANIMAL, ANIMAL])
    Image.fromarray(pixels).save(folder / name)
    return boxes


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A table of 60 pictures with boxes in pixels, and overrides to train on them."""
    from torchvision.models import squeezenet1_0

    folder = tmp_path_factory.mktemp("field")
    lines = ["path,label,box_x,box_y,box_width,box_height"]
    for number in range(60):
        label = list(COLOURS)[number % 3]
        (box,) = field(folder, f"{number}.png", [label])
        lines.append(",".join(map(str, [f"{number}.png", label, *box])))
    (folder / "animals.csv").write_text("\n".join(lines))
    torch.manual_seed(0)
    torch.save(squeezenet1_0().state_dict(), folder / "weights.pth")
    return folder, [
        "data=table", f"data.file={folder / 'animals.csv'}", "data.image_size=32", "data.split.val=0.2",
        "model=squeezenet", f"model.weights_file={folder / 'weights.pth'}", "regime=frozen", "head=logistic",
        "trainer.accelerator=cpu", "trainer.precision=fp32", "trainer.batch_size=16", "trainer.num_workers=0",
    ]  # fmt: skip


def composed(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", list(overrides)), "train")


def test_a_picture_with_another_box_is_another(animals, tmp_path):
    folder, how = animals
    plain = picture_table(composed(*how).data)
    boxed = picture_table(composed(*how, "data.crop=box").data)
    text = (folder / "animals.csv").read_text().splitlines()
    text[1] = "0.png,ant,1,1,9,9"
    (tmp_path / "moved.csv").write_text("\n".join(text))
    moved = composed(*how, "data.crop=box", f"data.root={folder}", f"data.file={tmp_path / 'moved.csv'}")
    one, other, third = (picture_digests(some, np.arange(60)) for some in (plain, boxed, picture_table(moved.data)))
    assert plain.boxes is None
    assert not (one == other).any()
    assert np.flatnonzero(other != third).tolist() == [0]
    config = composed(*how, "data.crop=box")
    digests = [ground(some).identity(some) for some in (config, moved)]
    assert len({one["files_digest"] for one in digests}) == 2
    assert len({one["data_digest"] for one in digests}) == 1  # they are compared on the same pictures


def test_animals_of_one_picture_stay_together_and_are_found_again(animals, store, typed, tmp_path):
    folder, how = animals
    rows = pd.read_csv(folder / "animals.csv")
    box = {"category": "1", "conf": 0.9}
    images = []
    for number, row in enumerate(rows.to_dict("records")):
        share = [row[name] / SIDE for name in ("box_x", "box_y", "box_width", "box_height")]
        found = [box | {"bbox": share}, box | {"bbox": [0, 0, 0.2, 0.2]}][: number % 3]
        images.append({"file": row["path"], "detections": found})
    content = {"info": {"format_version": "1.4"}, "detection_categories": {"1": "animal"}, "images": images}
    (tmp_path / "md.json").write_text(json.dumps(content))
    how = [*how, "data.crop=box", f"data.boxes={tmp_path / 'md.json'}", "tracking.experiment=several"]
    table = picture_table(composed(*how).data)
    assert len(table.rows) == 80
    assert (table.rows.groupby("picture_path")["split"].nunique() == 1).all()
    assert np.isnan(table.boxes).any(axis=1).sum() == 20
    assert typed("train", *how) == 0
    (run,) = store.search_runs(["1"])
    assert typed("evaluate", f"run={run.info.run_id}", "split=all") == 0
    content["images"][2]["detections"][0]["bbox"][0] += 0.01
    (tmp_path / "md.json").write_text(json.dumps(content))
    own = own_pictures(run, local_folder(run.info.artifact_uri), data_config(run))
    assert own.changed["path"].tolist() == [rows["path"][2]]


def test_a_table_has_a_row_an_animal_and_the_same_row_twice_is_one(animals, tmp_path):
    folder, how = animals
    lines = (folder / "animals.csv").read_text().splitlines()
    (tmp_path / "more.csv").write_text("\n".join([*lines, "0.png,bee,1,1,9,9", lines[1], "0.png,bee,1,1,9,9"]))
    how = [*how, f"data.root={folder}", f"data.file={tmp_path / 'more.csv'}"]
    table = picture_table(composed(*how, "data.crop=box").data)
    assert len(table.rows) == 61
    assert table.rows["path"].iloc[60] == "0.png#2"
    assert table.rows["split"].iloc[60] == table.rows["split"].iloc[0]
    assert np.allclose(table.boxes[60] * SIDE, [1, 1, 9, 9])
    with pytest.raises(BadInput, match=r"0\.png has the labels ant and bee"):
        picture_table(composed(*how).data)


def test_explore_opens_a_picture_once_and_shows_the_animals(animals, store, typed, tmp_path):
    folder, how = animals
    text = (folder / "animals.csv").read_text()
    (tmp_path / "more.csv").write_text(f"{text}\n0.png,ant,1,1,9,9")
    data = [one for one in how if one.startswith("data.") and "split" not in one]
    boxes = ["data=table", *data, f"data.root={folder}", f"data.file={tmp_path / 'more.csv'}", "data.crop=square"]
    assert typed("explore", *boxes) == 0
    (page,) = (tmp_path / "mlruns").rglob("explore.html")
    assert "61 animals in 60 pictures of 3 classes; every picture was opened" in page.read_text()
    table = picture_table(composed(*how, *boxes[-3:]).data)
    for row, shown in jpegs(table, range(3)).items():
        middle = np.asarray(Image.open(io.BytesIO(shown)), float)[40:88, 40:88].mean((0, 1))
        assert np.abs(middle - COLOURS[list(COLOURS)[row]]).max() < 20


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.crop=box", "data.box_unit=shares"], "say data.box_unit=pixels"),
        (["data.crop=box", "data.box_columns=[box_x,box_y,wide,high]"], "no column 'wide'"),
        (["data.boxes=md.json"], "no box is looked at with data.crop=none"),
        (["data.crop=box", "data.boxes=no.json"], "data.boxes: there is no file"),
    ],
)
def test_what_cannot_be_stops_before_any_work(overrides, said, animals):
    with pytest.raises(BadInput, match=said):
        ground(composed(*animals[1], *overrides))


def test_cropping_tells_small_animals_apart_and_goes_all_the_way_to_serving(animals, store, typed, tmp_path, capsys):
    folder, how = animals
    how = [*how, "tracking.experiment=field"]
    assert typed("train", *how) == 0
    assert typed("train", *how, "data.crop=square") == 0
    cropped, whole = store.search_runs(["1"], order_by=["attributes.start_time DESC"])
    assert cropped.data.metrics["test/accuracy"] == 1
    assert whole.data.metrics["test/accuracy"] < 1
    capsys.readouterr()
    assert typed("compare") == 0
    assert "groups of runs" not in capsys.readouterr().out
    facts = json.loads((local_folder(cropped.info.artifact_uri) / "checkpoints" / "best.json").read_text())
    assert facts["network"]["preprocessing"]["crop"] == "square"

    assert typed("evaluate", f"run={cropped.info.run_id}", "data=table", f"data.file={folder / 'animals.csv'}") == 0
    assert "100" in capsys.readouterr().out
    lines = [line.rsplit(",", 4)[0] for line in (folder / "animals.csv").read_text().splitlines()]
    (tmp_path / "none.csv").write_text("\n".join(lines))
    others = ["data=table", f"data.file={tmp_path / 'none.csv'}", f"data.root={folder}"]
    assert typed("evaluate", f"run={cropped.info.run_id}", *others) == 0
    assert "none has no boxes, so that its pictures are looked at whole" in capsys.readouterr().out
    assert typed("ensemble", f"runs=[{whole.info.run_id},{cropped.info.run_id}]", "strategies=[soft_vote]",
                 "choose=soft_vote") == 0  # fmt: skip
    mixed = store.search_runs(["1"], "tags.stage = 'ensemble'")[0]
    for best in (whole, cropped):  # whichever is, each member sees the pictures its own way
        store.set_tag(mixed.info.run_id, "best_member", best.info.run_id)
        assert typed("evaluate", f"run={mixed.info.run_id}", "split=all", "evaluation.tta=flips") == 0
    assert len({run.data.metrics["all/accuracy"] for run in store.search_runs(["1"], "tags.stage = 'evaluate'")
                if run.data.tags["evaluated_run"] == mixed.info.run_id}) == 1  # fmt: skip
    assert typed("promote", f"run={cropped.info.run_id}") == 0

    new = tmp_path / "new"
    new.mkdir()
    shown = {"1.png": ["ant", "cat"], "2.png": ["bee"], "3.png": []}
    images = []
    for name, some in shown.items():
        boxes = [[side / SIDE for side in box] for box in field(new, name, some)]
        images.append({"file": name, "detections": [{"category": "1", "conf": 0.9, "bbox": box} for box in boxes]})
    found = {"info": {"format_version": "1.5"}, "detection_categories": {"1": "animal"}, "images": images}
    (tmp_path / "md.json").write_text(json.dumps(found))
    assert typed("predict", f"images={new}", "boxes=md.json", "folders=sorted") == 0
    said = pd.read_csv("predictions.csv")
    assert said["label"].tolist() == ["ant", "cat", "bee", "blank"]
    assert said["probability"].isna().tolist() == [False, False, False, True]
    pictures = pd.read_csv("predictions_pictures.csv")
    assert pictures["animals"].tolist() == [2, 1, 0]
    assert pictures["labels"].fillna("").tolist() == ["ant: 1; cat: 1", "bee: 1", ""]
    assert (tmp_path / "sorted" / "sorted" / "blank" / "3.png").is_file()

    model = mlflow.pyfunc.load_model("models:/field@champion")
    assert [one.name for one in model.metadata.get_input_schema().inputs if one.name.startswith("box_")]
    encoded = base64.b64encode((new / "1.png").read_bytes()).decode()
    request = [{"image": encoded} | dict(zip(("box_x", "box_y", "box_width", "box_height"), one["bbox"], strict=True))
               for one in images[0]["detections"]]  # fmt: skip
    assert [one["label"] for one in model.predict(pd.DataFrame(request))] == ["ant", "cat"]
    assert model.predict(pd.DataFrame([{"image": encoded}]))[0]["label"]
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"picture 0: its box .* divide by the picture's width"):
        model.predict(pd.DataFrame([request[0] | {"box_x": 30.0}]))
