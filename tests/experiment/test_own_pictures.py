"""A run's own pictures are those of its kept split, whatever became of the folder: trained and asked as typed."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.split_files import kept_split
from pipeline.experiment import build
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.predictions.parquet import read_predictions
from pipeline.tracking.finished import artifact_folder

QUICK = (
    "model=squeezenet", "regime=scratch", "augmentation=none", "trainer.epochs=1", "trainer.num_workers=0",
    "trainer.batch_size=8", "trainer.accelerator=cpu", "trainer.threads=1", "trainer.precision=fp32",
    "data.image_size=32",
)  # fmt: skip


def picture(file, seed):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def photos(tmp_path):
    """Twenty pictures of each of two classes, in no splits."""
    for number in range(40):
        picture(tmp_path / "photos" / ("ant", "bee")[number % 2] / f"{number:02d}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def trained(photos, store, typed):
    """Train on half of the training pictures, some of them twice; the run, its kept split and the pictures it used."""

    def _trained(*arguments):
        assert typed("train", *QUICK, "data=folder", f"data.root={photos}", *arguments) == 0
        [run] = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
        folder = artifact_folder(run, "")
        data = data_config(run)
        used = build.picture_table(data)
        return run, kept_split(folder), used

    return _trained


def latest(store):
    return store.search_runs([store.get_experiment_by_name("photos").experiment_id], "tags.stage = 'evaluate'")[0]


def answered(run, split):
    return read_predictions(artifact_folder(run, "predictions") / f"{split}.parquet").ids.tolist()


def first_of(kept, split, number=0):
    return kept.loc[kept["split"] == split, "path"].iloc[number]


def test_a_folder_that_changed_is_asked_about_the_runs_own_pictures(trained, typed, photos, store, capsys):
    run, kept, used = trained("data.fraction=0.5", "data.bootstrap=3", "trainer.keep_epochs=[1]")
    assert list(kept) == ["path", "label", "split", "digest"]
    gone, edited = first_of(kept, "test"), first_of(kept, "test", 1)
    trained_on = used.rows["path"].to_numpy()[used.where("train")].tolist()
    for number in range(7):  # they come before the others, so that a split made anew would be another
        picture(photos / "ant" / f"0000{number}.png", 100 + number)
    (photos / gone).unlink()
    picture(photos / edited, 99)
    capsys.readouterr()
    for question in ("evaluation.tta=flips", "checkpoint=epoch_1"):
        assert typed("evaluate", f"run={run.info.run_id}", "trainer.num_workers=0", question) == 0
        assert f"1 vanished ({gone}), 1 changed ({edited}), 7 are new and not among them" in capsys.readouterr().out
        asked = latest(store)
        assert asked.data.tags["source"] == "the network"
        assert answered(asked, "test") == [one for one in kept.loc[kept["split"] == "test", "path"] if one != gone]
        counted = {name: asked.data.metrics[f"data/{name}"] for name in ("vanished", "changed", "new")}
        assert counted == {"vanished": 1, "changed": 1, "new": 7}
    missed = trained_on[0]
    (photos / missed).unlink()
    assert typed("evaluate", f"run={run.info.run_id}", "trainer.num_workers=0", "split=train") == 0
    assert answered(latest(store), "train") == [one for one in trained_on if one != missed]


def test_a_run_that_kept_no_split_is_never_asked_about_what_it_trained_on(trained, typed, photos, store, capsys):
    run, kept, used = trained()
    (artifact_folder(run, "") / "split.csv").unlink()
    plain = ("trainer.num_workers=0", f"run={run.info.run_id}")
    assert typed("evaluate", *plain, "split=train") == 0
    assert len(answered(latest(store), "train")) == len(used.where("train"))
    picture(photos / "ant" / "00000.png", 100)
    assert typed("evaluate", *plain, "evaluation.tta=flips") == 0
    assert sorted(answered(latest(store), "test")) == sorted(kept.loc[kept["split"] == "test", "path"])
    capsys.readouterr()
    assert typed("evaluate", *plain, "split=train") == 2
    assert "kept no split, and photos has changed since: which pictures it was trained on" in capsys.readouterr().err
    for name in ("val", "test"):
        (artifact_folder(run, "predictions") / f"{name}.parquet").unlink()
    assert typed("evaluate", *plain, "evaluation.tta=flips") == 2
    assert "kept no split, and photos has changed since: which pictures were its own" in capsys.readouterr().err


def test_a_stored_picture_that_is_gone_leaves_its_specimen_out(trained, typed, photos, store, tmp_path, capsys):
    files = sorted(file.relative_to(photos).as_posix() for file in photos.glob("*/*.png"))
    rows = [
        (file, file.partition("/")[0], f"{file.partition('/')[0]} {number // 2}") for number, file in enumerate(files)
    ]
    table = photos / "photos.csv"
    pd.DataFrame(rows, columns=["path", "label", "specimen"]).to_csv(table, index=False)
    run, kept, _ = trained("data=table", f"data.file={table}")
    gone = first_of(kept, "test")
    (photos / gone).unlink()
    group = ("evaluation.group=specimen", f"run={run.info.run_id}")
    assert typed("evaluate", *group) == 0
    said = capsys.readouterr().out
    assert f"1 pictures are left out, as they are no longer in photos and so of no known specimen: {gone}" in said
    assert gone not in "".join(answered(latest(store), "test_pooled"))


def test_what_changed_is_counted_and_can_be_refused(trained, photos):
    run, kept, used = trained("data.classes=[ant,bee]", "data.split.seed=4")
    folder, data = artifact_folder(run, ""), data_config(run)
    own = own_pictures(run, folder, data)
    assert own.difference == ""
    own.check_unchanged("resume=x")
    pd.testing.assert_frame_equal(own.table.rows, used.rows)
    for name in ("ant", "bee"):
        (photos / first_of(kept[kept["label"] == name], "train")).unlink()
    edited = first_of(kept, "val")
    picture(photos / edited, 99)
    for number in range(3):  # a class that the run did not choose is none of its own
        picture(photos / "aaa" / f"{number}.png", 200 + number)
    own = own_pictures(run, folder, data)
    assert (len(own.vanished), len(own.changed), own.new) == (2, 1, 0)
    assert own.split.classes == ["ant", "bee"]
    with pytest.raises(BadInput, match=rf"soup: photos is no longer .*: {edited} has changed; put back what was there"):
        own.check_unchanged("soup", ("val", "test"))
    with pytest.raises(BadInput, match=r"resume=x: photos .* is gone, .* is gone, .* has changed; put back"):
        own.check_unchanged("resume=x")
