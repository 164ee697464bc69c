"""Looking at pictures before training, and what training itself says of leaks: the commands as typed."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.predictions.feature_table import write_features


def the_run(store, experiment, stage):
    [run] = store.search_runs([store.get_experiment_by_name(experiment).experiment_id], f"tags.stage = '{stage}'")
    return run


def state(folder):
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in folder.rglob("*")}


@pytest.fixture
def messy(tmp_path):
    """Photographs with a table beside them: an exact copy and a near one across splits, and an empty file."""
    root, rows = tmp_path / "my photos", []
    for number in range(24):
        label, split = ("auk", "bee eater")[number % 2], ("train", "train", "val", "test")[number // 2 % 4]
        file = root / label / f"{number:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC).save(file, quality=95)
        rows.append((f"{label}/{number:02d}.jpg", label, split, 7 * number - 80, 15 * number - 175))
    shutil.copy(root / "auk/00.jpg", root / "auk/again.jpg")
    Image.open(root / "bee eater/01.jpg").resize((100, 75)).save(root / "bee eater/smaller.jpg", quality=70)
    (root / "auk/empty.jpg").write_bytes(b"")
    rows += [("auk/again.jpg", "auk", "test", 1.5, 2.5), ("bee eater/smaller.jpg", "bee eater", "val", None, None),
             ("auk/empty.jpg", "auk", "train", None, None)]  # fmt: skip
    columns = ["path", "label", "split", "latitude", "longitude"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "birds.csv", index=False)
    return root


def test_exploring_finds_what_is_wrong_and_changes_nothing(messy, store, capsys, tmp_path, typed):
    before = state(messy)
    arguments = ["data=table", f"data.file={messy}/birds.csv", "explore.num_workers=0", "explore.samples=6"]
    assert typed("explore", *arguments) == 0
    assert state(messy) == before
    run = the_run(store, "birds", "explore")
    assert run.info.status == "FINISHED"
    assert {file.path for file in store.list_artifacts(run.info.run_id)} == {
        "classes.csv", "explore.html", "leaks.csv", "unreadable.csv", "without_leaks",
    }  # fmt: skip
    folder = store.download_artifacts(run.info.run_id, "", str(tmp_path))
    leaks = pd.read_csv(f"{folder}/leaks.csv")
    assert set(leaks[["path", "other_path", "leak", "kind"]].itertuples(index=False, name=None)) == {
        ("auk/00.jpg", "auk/again.jpg", "split", "exact"),
        ("bee eater/01.jpg", "bee eater/smaller.jpg", "split", "near"),
    }
    mended = pd.read_csv(f"{folder}/without_leaks/split.csv", index_col="path")["split"]
    assert mended[["auk/00.jpg", "auk/again.jpg", "bee eater/01.jpg", "bee eater/smaller.jpg"]].unique() == ["train"]
    page = Path(folder, "explore.html").read_text(encoding="utf-8")
    assert "data.split.file=mlruns/" in page
    assert str(tmp_path) not in page
    assert "The set brings its own train, val and test." in page
    assert "<h2>As training sees them</h2>" in page
    [broken] = pd.read_csv(f"{folder}/unreadable.csv").to_dict("records")
    assert broken == {"path": "auk/empty.jpg", "problem": "is empty (0 bytes)"}
    counts = pd.read_csv(f"{folder}/classes.csv", index_col="label")
    assert counts.sum().to_dict() == {"train": 13, "val": 7, "test": 7}
    figures = {name: run.data.metrics[f"data/{name}"] for name in ("pictures", "unreadable", "leaks", "near_copies")}
    assert figures == {"pictures": 27, "unreadable": 1, "leaks": 2, "near_copies": 2}
    page = (Path(folder) / "explore.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 6 + 2 * 2 + 3 * 7  # samples, pairs, three pictures with six views
    assert "25 of 27 pictures say where they were taken" in page
    for path in ("auk/again.jpg", "bee eater/smaller.jpg", "auk/empty.jpg"):
        assert path in page
    said = capsys.readouterr().out
    assert "auk/empty.jpg is empty (0 bytes)" in said
    assert "2 leaks: auk/00.jpg (train, auk) is auk/again.jpg (test, auk)" in said


def test_pictures_alike_to_a_network_are_shown_beside_copies(messy, store, capsys, tmp_path, typed):
    paths = [f"{('auk', 'bee eater')[number % 2]}/{number:02d}.jpg" for number in range(8)] + [
        "auk/again.jpg",
        "gone.jpg",
    ]
    values = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    values[8] = values[0]  # its exact copy
    values[4], values[6] = values[2] + 0.01, values[3] + 0.01  # train and val; two classes, both in train and test
    rows = pd.DataFrame({"path": paths, "label": "auk", "split": "train"})
    file = tmp_path / "features.parquet"
    write_features(file, rows, [values], {"data": {"name": "birds"}})
    arguments = [f"explore.features={file}", "explore.num_workers=0", "explore.samples=0"]
    assert typed("explore", "data=table", f"data.file={messy}/birds.csv", *arguments) == 0
    run = the_run(store, "birds", "explore")
    folder = store.download_artifacts(run.info.run_id, "", str(tmp_path))
    found = pd.read_csv(f"{folder}/resembling.csv")
    assert set(found[["path", "other_path"]].itertuples(index=False, name=None)) == {
        ("auk/02.jpg", "auk/04.jpg"), ("bee eater/03.jpg", "auk/06.jpg"),
    }  # fmt: skip
    assert found["cosine"].min() > 0.95
    page = Path(folder, "explore.html").read_text(encoding="utf-8")
    assert "<h2>Alike to a network</h2>" in page
    assert "2 pairs in two splits" in page
    assert typed("explore", "data=digits", *arguments) == 2
    assert "it is of other pictures (of birds, the first auk/00.jpg)" in capsys.readouterr().err


def test_exploring_what_is_not_there_leaves_no_run(store, capsys, typed):
    assert typed("explore", "data=folder", "data.root=/no/photos") == 2
    told = capsys.readouterr().err
    assert "/no/photos" in told
    assert len(told.strip().splitlines()) == 1
    assert [one.name for one in store.search_experiments()] == ["Default"]


def test_what_training_refuses_is_shown(store, capsys, tmp_path, typed):
    """Classes of one picture, a folder without any: one looks first, and puts right what is found."""
    root = tmp_path / "set"
    for name in [*[f"{label}/{number}.png" for label in ("auk", "coot") for number in range(6)], "owl/only.png"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(list(root.rglob("*")))).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name)
    (root / "dodo").mkdir()
    arguments = ["data=folder", f"data.root={root}", "explore.num_workers=0"]
    assert typed("explore", *arguments) == 0
    said = capsys.readouterr().out
    assert "warning: classes with too few pictures to be in every split: owl" in said
    assert "warning: folders without a picture: dodo" in said
    run = the_run(store, "set", "explore")
    page = Path(store.download_artifacts(run.info.run_id, "explore.html", str(tmp_path))).read_text(encoding="utf-8")
    assert "too few pictures to be in every split: owl" in page
    assert "Folders without a picture: dodo" in page
    assert run.data.metrics["data/classes"] == 3
    for label in ("auk", "coot"):
        for number in range(1, 6):
            (root / label / f"{number}.png").unlink()
    assert typed("explore", *arguments) == 0  # now val and test have none
    assert "every split: auk, coot, owl" in capsys.readouterr().out


def test_pictures_that_are_not_there_are_shown(messy, store, capsys, tmp_path, typed):
    table = pd.read_csv(messy / "birds.csv")
    lost = table.head(2).assign(path=["auk/lost.jpg", "auk/gone.jpg"])
    pd.concat([table, lost]).to_csv(messy / "birds.csv", index=False)
    assert typed("explore", "data=table", f"data.file={messy}/birds.csv", "explore.num_workers=0") == 0
    assert "warning: 2 pictures are left out: auk/lost.jpg is not there" in capsys.readouterr().out
    run = the_run(store, "birds", "explore")
    page = Path(store.download_artifacts(run.info.run_id, "explore.html", str(tmp_path))).read_text(encoding="utf-8")
    assert "auk/gone.jpg" in page
    lost.to_csv(messy / "birds.csv", index=False)
    assert typed("explore", "data=table", f"data.file={messy}/birds.csv") == 2
    assert "auk/lost.jpg is not there" in capsys.readouterr().err


def test_training_warns_of_leaks_and_counts_them(messy, store, capsys, typed):
    before = state(messy)
    arguments = [
        "data=table", f"data.file={messy}/birds.csv", "data.image_size=32", "data.on_unreadable=skip",
        "model=squeezenet", "regime=scratch", "augmentation=none", "trainer.epochs=1", "trainer.batch_size=8",
        "trainer.limit_batches=1", "trainer.num_workers=0", "trainer.accelerator=cpu",
    ]  # fmt: skip
    assert typed("train", *arguments) == 0
    run = the_run(store, "birds", "train")
    assert run.data.metrics["data/leaks"] == 1
    assert run.data.tags["data.leaks"] == "1"
    said = capsys.readouterr().out
    assert "warning: 1 pictures of one split are also in another" in said
    assert "auk/00.jpg (train) is auk/again.jpg (test)" in said
    assert state(messy) == before
