"""Species held out as wholes, and what runs tell of what they do not know: trained, promoted, asked as typed."""

from shutil import copytree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.data.digest import data_digest
from pipeline.evaluation.familiar import read_familiar
from pipeline.evaluation.unknown import auroc
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.experiment.training import own_or_new_pictures
from pipeline.predictions.parquet import read_predictions
from pipeline.serving.from_run import known_of, looks_of
from pipeline.tracking.finished import artifact_folder

QUICK = (
    "model=squeezenet", "trainer.epochs=1", "trainer.num_workers=0", "augmentation=none", "trainer.batch_size=8",
    "trainer.accelerator=cpu", "trainer.threads=1", "trainer.precision=fp32", "data.image_size=32",
    "data.split.val=0.4",
)  # fmt: skip
KINDS = ("ant", "bee", "cow", "dog")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty pictures of each of four kinds, each of a colour of its own; and what kin they are."""
    folder, chance = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(80):
        pixels = chance.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        pixels[..., number % 4 % 3] += 60 * (1 + number % 4 // 3)
        file = folder / "photos" / KINDS[number % 4] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    (folder / "kin.csv").write_text("label,class\nant,Insecta\nbee,Insecta\ncow,Mammalia\ndog,Mammalia\n")
    return folder / "photos"


def runs(store):
    return store.search_runs([store.get_experiment_by_name("photos").experiment_id])


def test_a_frozen_network_tells_of_kinds_that_it_never_saw(photos, store, typed, weights, capsys, tmp_path):
    asked = (*QUICK, "data=folder", f"data.root={photos}", "regime=frozen", "head=prototype", weights)
    kin = f"data.taxonomy={photos.parent / 'kin.csv'}"
    assert typed("train", *asked, "data.unseen=[bee]", kin) == 0
    told = capsys.readouterr()
    assert (
        "of 1 class held out (20 pictures): told from the known (12 of test) with an area under" in told.out + told.err
    )
    (run,) = runs(store)
    figures, folder = run.data.metrics, artifact_folder(run, "")
    assert (figures["unseen/pictures"], figures["unseen/classes"]) == (20, 1)
    assert 0 <= figures["unseen/auroc_near"] <= 1
    said = pd.read_csv(folder / "unseen.csv")
    assert set(said["label"]) == {"bee"}
    assert set(said["answer"]) <= {"ant", "cow", "dog"}
    assert said["unknown"].mean() == pytest.approx(1 - figures["unseen/accepted"])
    assert (said["right"] == (said["taxon"] == "Insecta")).all()
    by_rank = pd.read_csv(folder / "unseen_by_rank.csv")
    assert list(by_rank["rank"]) == ["nothing", "class", "label"]
    assert by_rank["answers"].sum() == 20
    assert by_rank["accepted"].sum() == round(20 * figures["unseen/accepted"])

    data = data_config(run)
    kept = own_pictures(run, folder, data)
    assert (kept.new, set(kept.unseen.rows["label"])) == (0, {"bee"})
    _, again, held = own_or_new_pictures(data, kept)  # as a run that broke off goes on
    _, anew, _ = own_or_new_pictures(data, None)
    assert data_digest(again) == data_digest(anew) == run.data.tags["data_digest"]
    assert list(held.taxonomy.loc["bee", ["class"]]) == ["Insecta"]
    by_its_file = data.split.model_copy(update={"file": str(folder / "split.csv")})
    _, by_file, _ = own_or_new_pictures(data.model_copy(update={"split": by_its_file}), None)
    assert data_digest(by_file) == data_digest(anew)
    one_more = photos / "bee" / "one more.png"  # of a kind that is held out, so that the others stay where they were
    one_more.write_bytes((photos / "bee" / "01.png").read_bytes() + b"!")
    split, table, held = own_or_new_pictures(data, None)
    one_more.unlink()
    assert (data_digest(table), len(held.rows)) == (data_digest(anew), 21)
    assert not split.rows["split"].isna().any()
    others = data.model_copy(update={"unseen": ["cow"]})
    assert data_digest(own_or_new_pictures(others, None)[1]) != data_digest(anew)

    assert typed("evaluate", f"run={run.info.run_id}", "evaluation.known_sent_away=0.1") == 0
    own = runs(store)[0].data.metrics
    test, looks = read_predictions(folder / "predictions" / "test.parquet"), looks_of(run)[1]["test"]
    val = read_predictions(folder / "predictions" / "val.parquet")
    temperature = own["temperature"]
    known = known_of(run, val.at_temperature(temperature))
    strange = known.strange(test.at_temperature(temperature), looks)
    assert own["test/known_sent_away_10"] == (strange > known.strangeness.sends_away(0.1)[1]).mean()
    others = ("evaluate", f"run={run.info.run_id}", "data=folder", f"data.root={photos}", "trainer.precision=fp32",
              "trainer.num_workers=0", "evaluation.unknown_classes=ask")  # fmt: skip
    assert typed(*others) == 0
    asked_again = runs(store)[0]
    assert asked_again.data.metrics["unseen/accepted"] == figures["unseen/accepted"]
    assert pd.read_csv(artifact_folder(asked_again, "") / "unseen.csv")["strangeness"].to_numpy() == pytest.approx(
        said["strangeness"].to_numpy(), abs=0.01
    )
    for name in ("bee", "wasp"):  # nothing but what it does not know: its own test stands beside
        copytree(photos / "bee", tmp_path / "far" / name)
    capsys.readouterr()
    assert typed(*others, f"data.root={tmp_path / 'far'}") == 0
    told = capsys.readouterr()
    assert "told from the known (its own 12 of test) with an area under" in told.out + told.err
    assert "by the right taxon" not in told.out + told.err  # no taxonomy says which that would be
    far = runs(store)[0].data.metrics
    assert far["unseen/auroc_near"] == pytest.approx(figures["unseen/auroc_near"])
    assert (far["unseen/classes"], far["unseen/pictures"]) == (2, 40)
    for picture in (tmp_path / "far").rglob("*.png"):
        picture.write_bytes(b"broken")
    assert typed(*others, f"data.root={tmp_path / 'far'}", "data.on_unreadable=skip") == 0
    told = capsys.readouterr()
    assert "not one picture of the classes that it does not know can be read" in told.out + told.err

    assert typed("promote", f"run={run.info.run_id}") == 0
    assert typed("predict", f"images={photos}", "answers.known_sent_away=0.1") == 0
    answers = pd.read_csv(tmp_path / "predictions.csv")
    assert answers["unknown"].isin([True, False]).all()
    assert answers["unknown"].equals(answers["why"].str.startswith("perhaps none of the known"))


def test_a_network_that_trained_itself_is_asked_of_some_of_its_pictures(photos, store, typed):
    assert typed("train", *QUICK, "data=folder", f"data.root={photos}", "regime=scratch") == 0
    (run,) = runs(store)
    folder = artifact_folder(run, "predictions")
    familiar, arrays = read_familiar(folder / "known.safetensors")
    assert len(familiar.means) == 4
    assert {"val.distance", "val.along", "test.distance", "test.along"} == set(arrays)
    val = read_predictions(folder / "val.parquet")
    assert len(arrays["val.distance"]) == len(val)
    known = known_of(run, val)
    assert known.strangeness.distance is not None
    assert known.strangeness.sends_away(0.1)[0] == 0.1
    (folder / "known.safetensors").unlink()  # a run of an earlier version
    assert known_of(run, val) is None
    store.set_tag(run.info.run_id, "stage", "ensemble")  # several networks: by probabilities alone
    assert known_of(store.get_run(run.info.run_id), val).familiar is None


@pytest.mark.parametrize(
    ("unseen", "said"),
    [("[wasp]", "data.unseen: photos has no class 'wasp'"), ("0.75", "3 classes of 4 held out would leave 1"),
     ("1.5", "data.unseen")],
)  # fmt: skip
def test_bad_choices_end_before_any_work(unseen, said, photos, store, typed, capsys):
    assert typed("train", *QUICK, "data=folder", f"data.root={photos}", "regime=scratch", f"data.unseen={unseen}") == 2
    assert said in capsys.readouterr().err


def test_the_area_under_the_curve_counts_ties_half():
    assert auroc(np.array([0, 1, 2]), np.array([3, 4])) == 1
    assert auroc(np.array([0, 1]), np.array([1, 0])) == 0.5
