"""Naming pictures: the command as typed, with a small model that was promoted for real."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from stored import CLASSES, finished, predictions

from pipeline.data.batch import Inputs
from pipeline.evaluation.familiar import Familiar, write_familiar
from pipeline.models.classifier import Classifier
from pipeline.models.saved import read_facts, save_best
from pipeline.serving.asking import answer
from pipeline.serving.bundle import read_bundle
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import find_run


@pytest.fixture
def photos(store, tmp_path, typed):
    """A folder of 11 pictures; the champion that is asked about them has a temperature and thresholds of its own."""
    torch.manual_seed(0)
    run = finished(
        model__name="torchvision/squeezenet1_1", val=predictions(pictures=300), test=predictions("test", pictures=300)
    )
    folder = artifact_folder(find_run(store, run), "checkpoints")
    facts = read_facts(folder)
    save_best(folder, Classifier(facts.spec), facts)
    assert typed("promote", f"run={run}") == 0
    chance = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(11):
        pixels = chance.integers(0, 20 + 23 * number, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
    return tmp_path / "photos"


@contextmanager
def batches_of(kind):
    """The sizes of the batches that networks of a kind are shown, as they come."""
    sizes = []

    def note(module, shown):
        if type(module).__name__ == kind:
            sizes.append(len(shown[0]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield sizes
    finally:
        hook.remove()


@pytest.mark.parametrize(("size", "shown"), [(1, [1] * 11), (4, [4, 4, 3]), (50, [11])])
def test_pictures_are_asked_in_batches_and_keep_their_order(size, shown, photos, store, tmp_path, typed):
    with batches_of("SqueezeNet") as sizes:
        assert typed("predict", f"images={photos}", f"batch_size={size}") == 0
    assert sizes[-len(shown) :] == shown  # one before may be to learn how wide its features are
    said = pd.read_csv(tmp_path / "predictions.csv")
    assert list(said["picture"]) == [str(photos / f"{number:02}.png") for number in range(11)]
    bundle = read_bundle(fetch_model("models:/birds@champion") / "artifacts" / "served")
    for row in said.to_dict("records"):
        (alone,) = answer(bundle, [Path(row["picture"]).read_bytes()])
        assert row["probability"] == pytest.approx(alone.probability, rel=1e-4)


def test_links_to_nowhere_and_pipes_are_told_of_as_skipped(photos, tmp_path, capsys, typed):
    (photos / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(photos / "pipe.png")
    (photos / "folder.png").mkdir()
    assert typed("predict", f"images={photos}") == 0
    told = capsys.readouterr()
    told = told.out + told.err
    assert f"skipped: {photos / 'nowhere.png'}" in told
    assert f"skipped: {photos / 'pipe.png'}" in told
    assert "folder.png" not in told
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 11


def test_what_cannot_be_read_is_skipped_in_the_middle_of_a_batch(photos, tmp_path, capsys, typed):
    for name in ("03.png", "07.png", "10.png"):
        (photos / name).write_bytes(b"no picture")
    assert typed("predict", f"images={photos}", "batch_size=5") == 0
    told = capsys.readouterr().out.replace("\n", "")
    assert all(f"skipped: {photos / name}" in told for name in ("03.png", "07.png", "10.png"))
    left = [f"{number:02}.png" for number in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert [Path(one).name for one in pd.read_csv(tmp_path / "predictions.csv")["picture"]] == left
    assert typed("predict", f"images={photos}", "on_unreadable=raise") == 2
    assert str(photos / "03.png") in capsys.readouterr().err
    assert typed("predict", f"images={photos / '03.png'}", "output=none.csv") == 2
    assert "none of 1 pictures can be read" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_sets_and_the_answered_are_columns_when_asked_for(photos, tmp_path, capsys, typed):
    def asked(*arguments):
        assert typed("predict", f"images={photos}", *arguments) == 0
        return pd.read_csv(tmp_path / "predictions.csv")

    plain = asked()
    assert not {"set", "answered"} & set(plain)
    least = float(plain["probability"].median())
    sizes = []
    for coverage in (0.5, 0.9, 0.99):
        said = asked(f"coverage={coverage}", f"min_probability={least}")
        sets = said["set"].str.split("; ")
        assert all(label in held and set(held) <= set(CLASSES) for label, held in zip(said["label"], sets, strict=True))
        assert list(said["answered"]) == list(plain["probability"] >= least)
        sizes.append(sets.str.len().to_numpy())
    assert (sizes[0] <= sizes[1]).all()
    assert (sizes[1] <= sizes[2]).all()
    assert sizes[0].sum() < sizes[2].sum()
    capsys.readouterr()
    assert typed("predict", f"images={photos}", "coverage=0.9999") == 2
    assert "coverage=0.9999 cannot be promised by this model: at most 0.99" in capsys.readouterr().err


def test_the_taxon_and_how_sure_it_is_are_told_without_being_asked_for(photos, tmp_path, capsys, typed):
    assert typed("predict", f"images={photos}") == 0
    shown, said = capsys.readouterr().out, pd.read_csv(tmp_path / "predictions.csv")
    assert "how sure" in shown
    assert {"taxon", "rank", "taxon_probability", "why"} <= set(said)
    assert set(said["rank"].dropna()) <= {"label"}
    unsure = said["taxon"].isna()
    assert (said["taxon"] == said["label"])[~unsure].all()
    assert said["why"][unsure].str.startswith("sure of no rank").all()
    assert ("not sure" in shown) == unsure.any()
    assert typed("predict", f"images={photos}", "answers.error=0.001") == 2
    assert "error=0.001: this model cannot promise so few wrong answers: at least 0.01" in capsys.readouterr().err


def test_where_the_model_looked_lies_beside_the_answers_when_asked_for(photos, tmp_path, typed):
    assert typed("predict", f"images={photos}") == 0
    plain = pd.read_csv(tmp_path / "predictions.csv")
    assert "looked_at" not in plain
    assert not (tmp_path / "predictions_looked_at").exists()
    assert typed("predict", f"images={photos}", "explain=true", "batch_size=4") == 0
    said = pd.read_csv(tmp_path / "predictions.csv")
    assert said.drop(columns="looked_at").equals(plain)
    assert said["looked_at"][10] == "predictions_looked_at/00011_10.jpg"
    for file in said["looked_at"]:
        with Image.open(tmp_path / file) as shown:
            assert shown.size == (32, 32)


def test_answers_that_no_file_takes_are_printed(photos, tmp_path, capsys, typed):
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    assert typed("predict", f"images={photos}", f"output={full}") == 1
    said, error = capsys.readouterr()
    assert error == f"error: output={full} could not be written (No space left on device): all answers stand above\n"
    assert sum(line.startswith(f"{photos}/") for line in said.splitlines()) == 11


def test_what_is_unknown_and_that_a_folder_differs_is_said_by_who_knows(photos, store, tmp_path, capsys, typed):
    assert typed("predict", f"images={photos}") == 0
    assert "cannot tell what is unknown to it" in "".join(capsys.readouterr())
    assert pd.read_csv(tmp_path / "predictions.csv")["unknown"].isna().all()
    assert typed("predict", f"images={photos}", "answers.known_sent_away=0.1") == 2
    assert "known_sent_away=0.1: this model cannot tell what is unknown to it" in capsys.readouterr().err

    served = fetch_model("models:/birds@champion") / "artifacts" / "served"
    chance = np.random.default_rng(1)
    for number in range(11, 24):  # more than are too few to tell
        Image.fromarray(chance.integers(0, 99, (40, 48, 3), dtype=np.uint8)).save(photos / f"{number}.png")
    (run,) = store.search_runs([store.get_experiment_by_name("birds").experiment_id])
    network = read_bundle(served).members[0]
    with torch.no_grad():
        seen = network.features(Inputs(torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8))).numpy() * 3
    familiar = Familiar.of(seen, np.arange(60) % 3, 3)
    looks = familiar.looks(seen, np.zeros((60, 3)))
    noted = {f"val.{name}": np.resize(part, (300, *part.shape[1:])) for name, part in looks._asdict().items()}
    write_familiar(artifact_folder(run, "predictions") / "known.safetensors", familiar, noted)
    assert typed("promote", f"run={run.info.run_id}") == 0
    capsys.readouterr()
    assert typed("predict", f"images={photos}", "answers.known_sent_away=0.2", "coverage=0.9") == 0
    told = "".join(capsys.readouterr())
    assert "warning: these pictures differ from val's in " in told
    for promise in ("5 % of taxa wrong", "20 % of known pictures called unknown", "90 % of sets hold the right label"):
        assert promise in told
    unknown = pd.read_csv(tmp_path / "predictions.csv")["unknown"]
    assert unknown.isin([True, False]).all()
    assert ("none of these?" in told) == unknown[:20].any()


def test_how_many_there_are_of_each_class_and_only_of_what_lives_there(photos, tmp_path, typed, capsys):
    regions = [f"park,{CLASSES[0]}", f"park,{CLASSES[1]}", f"lake,{CLASSES[2]}"]
    (tmp_path / "map.csv").write_text("\n".join(["region,species", *regions]))
    asked = ("predict", f"images={photos}", "answers.only=map.csv")
    assert typed(*asked, "answers.region=park", "counts=true") == 0
    said, found = pd.read_csv("predictions.csv"), pd.read_csv("predictions_counts.csv")
    assert set(said["label"]) <= set(CLASSES[:2])
    counted = said["label"].value_counts()
    assert {row.label: row.answers for row in found.itertuples() if row.answers} == counted.to_dict()
    assert found["estimate"].sum() == pytest.approx(11, abs=0.2)
    assert CLASSES[2] not in set(found["label"])
    assert typed(*asked, "answers.region=park", "counts=true") == 0  # over earlier ones
    assert typed(*asked, "answers.region=Parc") == 2
    assert "has no region Parc; it can be one of lake, park" in capsys.readouterr().err
    pd.DataFrame({"path": ["00.png", "01.png"], "where": ["lake", "park"]}).to_csv("facts.csv", index=False)
    assert typed(*asked, "answers.region=where", "beside=facts.csv") == 0
    labels = pd.read_csv("predictions.csv")["label"]
    assert labels[0] == CLASSES[2]
    assert labels[1] in CLASSES[:2]
    Path("predictions_counts.csv").write_text("mine")
    assert typed(*asked, "answers.region=park", "counts=true") == 2


def test_pictures_of_one_animal_have_one_answer(photos, tmp_path, typed, capsys):
    specimens = ["a", "b", "a", "a", None, "b", None, None, "c", None, None]
    names = [f"{number:02}.png" for number in range(11)]
    pd.DataFrame({"path": names, "specimen": specimens}).to_csv("facts.csv", index=False)
    assert typed("predict", f"images={photos}", "output=single.csv", "batch_size=4") == 0
    asked = ("predict", f"images={photos}", "beside=facts.csv", "group=specimen", "batch_size=4")
    assert typed(*asked, "counts=true") == 0
    alone, said = pd.read_csv("single.csv"), pd.read_csv("predictions.csv")
    assert said["picture"].tolist() == alone["picture"].tolist()
    assert said["group"].fillna("").tolist() == [name or "" for name in specimens]
    ones = [4, 6, 7, 8, 9, 10]  # a group of one is answered as the picture is
    pd.testing.assert_frame_equal(said.loc[ones, alone.columns], alone.loc[ones])
    for some in ([0, 2, 3], [1, 5]):
        assert len(said.loc[some].drop(columns="picture").drop_duplicates()) == 1
        likeliest = alone.loc[some, "label"]
        mean = np.mean([probability_of(row, likeliest.iloc[0]) for row in alone.loc[some].itertuples()])
        assert probability_of(next(said.loc[some].itertuples()), likeliest.iloc[0]) == pytest.approx(mean, abs=1e-5)
    assert pd.read_csv("predictions_counts.csv")["answers"].sum() == 8
    assert typed(*asked, "explain=true") == 2
    assert "leave out group or explain" in capsys.readouterr().err
    assert typed("predict", f"images={photos}", "group=exif:60s") == 0
    assert "11 pictures without a date, each by itself" in capsys.readouterr().out


def probability_of(row, label):
    """What an answer gives a label, wherever in it that stands."""
    said = {row.label: row.probability, row.label_2: row.probability_2, row.label_3: row.probability_3}
    return said[label]
