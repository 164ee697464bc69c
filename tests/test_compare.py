"""Comparing finished runs: the command as typed, over a store of runs with known predictions."""

import errno
import os
import re
import sys
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest
from stored import CLASSES, finished, nearly, predictions

from pipeline.comparison.groups import comparable
from pipeline.comparison.ranking import rank
from pipeline.evaluation import statistics
from pipeline.tracking import sweeps
from pipeline.tracking.finished import TEST_LOOKS
from pipeline.tracking.selection import find_run


def compare(monkeypatch, *arguments):
    """Type the command; its exit code."""
    from pipeline.compare import main

    monkeypatch.setattr(sys, "argv", ["compare", *arguments])
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


def entered(store, *ids):
    from pipeline.tracking.compared import entrant

    return [entrant(store, find_run(store, one)) for one in ids]


def test_a_sweep_is_ranked_by_val_and_the_page_goes_to_its_parent(store, monkeypatch, tmp_path, capsys):
    parent = sweeps.open_sweep(
        "birds", ["regime=scratch,imagenet", "seed=0,1"], ["regime=scratch,imagenet", "seed=0,1"]
    )
    ids = [
        finished(signal=s, seed=seed, regime__name=r) for r, s in (("scratch", 0.5), ("imagenet", 3)) for seed in (0, 1)
    ]
    sweeps.close_sweep(parent)
    outside = finished(signal=5)
    assert compare(monkeypatch, "sweep=latest") == 0
    said = capsys.readouterr().out
    assert said.index("imagenet") < said.index("scratch")
    assert "always auk" in said
    best = max(ids, key=lambda one: store.get_run(one).data.metrics["best/val_accuracy"])
    assert f"promote run={best} " in said
    assert "What mattered most: regime" in said
    page = (tmp_path / "comparison.html").read_text()
    assert "imagenet" in page
    assert "<svg" in page
    assert not any(word in page for word in ("<script src", '<link rel="stylesheet"', 'href="http'))
    kept = {file.path for file in store.list_artifacts(parent, "comparison")}
    assert kept == {"comparison/comparison.html", "comparison/leaderboard.csv"}
    table = pd.read_csv(store.download_artifacts(parent, "comparison/leaderboard.csv", str(tmp_path)))
    assert list(table["n"]) == [2, 2]
    assert table.loc[0, "val_low"] < table.loc[0, "val_accuracy"] < table.loc[0, "val_high"]
    assert {store.get_run(one).data.tags[TEST_LOOKS] for one in ids} == {"1"}
    assert TEST_LOOKS not in store.get_run(outside).data.tags


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_cuts_nothing(width, store, monkeypatch, capsys):
    for lr, signal in (("0.001", 1), ("0.0003", 2)):
        finished(model__name="timm/vit_base_patch16_clip_quickgelu_224", optimizer__lr=lr, signal=signal)
    finished(model__name="torchvision/resnet18")
    monkeypatch.setenv("COLUMNS", str(width))
    assert compare(monkeypatch) == 0
    said = capsys.readouterr().out
    assert "…" not in said
    assert "for want of room without parameters" in said
    for place in ("val (95 %)", "test (95 %)", "0.0003"):
        assert place in said


def test_a_whole_experiment_gets_a_run_of_its_own(store, monkeypatch, tmp_path):
    finished(model__name="torchvision/alexnet")
    finished(signal=3)
    assert compare(monkeypatch, "tracking.experiment=birds", "output=page.html") == 0
    assert (tmp_path / "page.html").exists()
    [run] = store.search_runs([store.get_experiment_by_name("birds").experiment_id], "tags.stage = 'compare'")
    assert run.info.status == "FINISHED"
    assert "alexnet" in run.data.tags["mlflow.note.content"]


def test_runs_on_other_pictures_or_classes_are_never_ranked_together(store, monkeypatch, tmp_path, capsys):
    for seed in (0, 1):
        finished(seed=seed)
    finished(val=predictions(classes=[*CLASSES, "dove"]), test=predictions("test", classes=[*CLASSES, "dove"]))
    finished(val=predictions(pictures=30), trainer__limit_batches="1")
    finished(digest="d2")
    assert compare(monkeypatch) == 0
    said = capsys.readouterr().out
    assert "4 groups of runs on different data or splits: they are not ranked together" in said
    assert "other classes (adds dove)" in said
    assert "other pictures (30 val, 90 test): trainer.limit_batches=1" in said
    assert "other training data: the files changed between the runs" in said


def test_seeds_and_folds_of_a_choice_are_one_row(store):
    folds = [
        finished(digest=f"fold {fold}", val=predictions(start=60 * fold, seed=fold), data__split__folds="3",
                 data__split__fold=str(fold), optimizer__lr=lr)
        for lr in (0.1, 0.2) for fold in range(3)
    ]  # fmt: skip
    [group] = comparable(entered(store, *folds))
    ranking = rank(group)
    assert [row.name for row in ranking.rows] == ["lr=0.1", "lr=0.2"]
    assert list(ranking.table["n"]) == [3, 3]
    assert list(ranking.table["n_val"]) == [180, 180]


def test_a_run_made_twice_counts_once_and_parts_of_training_pictures_are_a_choice(store):
    ids = [finished(), finished(), finished(data__fraction=0.5, digest="half")]
    [group] = comparable(entered(store, *reversed(ids)))
    ranking = rank(group)
    assert ranking.older == [ids[0]]
    assert sorted(row.name for row in ranking.rows) == ["fraction=0.5", "fraction=1.0"]


def test_runs_that_knew_pictures_by_size_and_by_content_are_together_where_they_held_out_the_same(store):
    by_size, by_content = finished(digest="9f2c", seed=0), finished(digest="2-77aa", seed=1)
    [group] = comparable(entered(store, by_size, by_content))
    assert len(group) == 2
    other = finished(digest="2-77ab", seed=2)  # now two such sets, and nobody knows which one the sizes were of
    assert sorted(len(group) for group in comparable(entered(store, by_size, by_content, other))) == [1, 1, 1]
    elsewhere = finished(digest="51d0", val=predictions(start=500), seed=3)
    assert len(comparable(entered(store, by_content, elsewhere))) == 2


def test_a_run_whose_predictions_are_gone_is_left_out_of_an_experiment(store, monkeypatch, capsys):
    good, bad = finished(), finished(signal=2)
    from pipeline.tracking.finished import artifact_folder

    (artifact_folder(find_run(store, bad), "predictions") / "val.parquet").unlink()
    assert compare(monkeypatch) == 0
    assert f"({bad}) has no predictions for val" in capsys.readouterr().out
    assert compare(monkeypatch, f"runs=[{good},{bad}]") == 2
    assert f"({bad}) has no predictions for val" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tracking.experiment=brids"], "tracking.experiment=brids: there is no such experiment; did you mean birds?"),
        (["sweep=latest"], "sweep=latest: birds has no sweep yet"),
        (["runs=[]"], "runs=[] names no run"),
        (["runs=[nothing]"], "runs: nothing: MLflow has no run of that id"),
        (["runs=[a]", "sweep=latest"], "runs and sweep both say which runs"),
        (["output=here"], "output=here: name a file that ends in .html"),
        (["output=no/such/page.html"], "the folder"),
        (["leaders=1"], "leaders=1: should be greater than or equal to 2"),
        (["tracking.experiment=empty"], "empty has no finished training run; there are some in birds (1)"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, store, monkeypatch, capsys):
    finished()
    store.create_experiment("empty")
    assert compare(monkeypatch, *arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


def over_splits(seeds, *, pictures=60, **changes):
    """A run a split: each holds out other pictures of one set of 300, which all have the same labels."""
    return [
        finished(digest=f"split {seed}", val=predictions(start=60 * seed, seed=seed, pictures=pictures, signal=signal),
                 test=predictions("test", start=60 * seed, seed=seed, signal=signal), data__split__seed=str(seed),
                 optimizer__lr=lr, **changes)
        for lr, signal in ((0.1, 3), (0.2, 0.5)) for seed in seeds
    ]  # fmt: skip


def test_splits_of_the_same_pictures_are_one_row_and_compared_as_such(store, monkeypatch, tmp_path, capsys):
    ids = over_splits(range(3))
    [group] = comparable(entered(store, *ids))
    ranking = rank(group)
    assert list(ranking.table["n"]) == [3, 3]
    assert list(ranking.table["splits"]) == [3, 3]
    values = [store.get_run(one).data.metrics["test/accuracy"] for one in ids[:3]]
    found = statistics.over_splits(values, ranking.rows[0].test_by_train("test"))
    first = ranking.table.iloc[0]
    assert first["test_accuracy"] == pytest.approx(np.mean(values))
    assert first["test_low"] == pytest.approx(found["low"])
    assert compare(monkeypatch) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "as the mean of 3 splits (" in said
    assert "(corrected resampled t-test, Holm; largest p" in said
    page = (tmp_path / "comparison.html").read_text()
    assert "Nadeau and Bengio" in page
    assert "McNemar" not in page


def test_a_choice_run_on_fewer_splits_is_apart(store, monkeypatch, capsys):
    over_splits(range(2))
    own = {"val": predictions(seed=0), "test": predictions("test", seed=0)}
    finished(digest="split 0", data__split__seed="0", optimizer__lr=0.3, **own)
    assert compare(monkeypatch) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "other splits of the same pictures: data.split.seed=0 instead of 0,1" in said


def test_a_picture_with_another_label_is_of_another_set(store):
    one, two = (
        finished(val=predictions(start=start), test=predictions("test", start=start), data__split__seed=str(start))
        for start in (0, 1)
    )
    assert len(comparable(entered(store, one, two))) == 1
    three = predictions(start=2)
    relabelled = replace(three, labels=(three.labels + 1) % 3)
    other = finished(val=relabelled, test=predictions("test", start=2), data__split__seed="2")
    assert len(comparable(entered(store, one, two, other))) == 3


def test_the_headline_sets_each_split_beside_its_own_chance_and_corrects_the_best(store, monkeypatch, capsys):
    test = predictions("test", pictures=91)  # 31 auks of 91
    for seed in range(6):
        finished(signal=0, optimizer__lr=seed, seed=0, val=predictions(signal=0, seed=seed), test=test)
    assert compare(monkeypatch) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "(always auk: 33.3 %); on test" in said
    assert "(always auk: 34.1 %)." in said
    best, corrected = (
        float(re.search(pattern, said)[1])
        for pattern in (r"Best on val: \S+ ([\d.]+) %", r"its val accuracy is about ([\d.]+) %")
    )
    assert corrected < best - 1


@pytest.mark.parametrize(("more", "taken"), [(6, True), (5, False), (0, None)])
def test_what_to_type_next_is_an_ensemble_where_val_holds_it_better(more, taken, store, monkeypatch, capsys):
    network = finished()
    voted = finished(val=nearly(predictions(), more), tags={"stage": "ensemble"})
    elsewhere = predictions(start=500)
    finished(val=nearly(elsewhere, (~elsewhere.correct).sum()), tags={"stage": "ensemble"})  # all right, of others
    assert compare(monkeypatch) == 0
    said = capsys.readouterr().out
    assert f"next: python -m pipeline.promote run={voted if taken else network} " in said
    gain = f"gains {100 * more / 60:+.1f} points of val accuracy over"
    assert (gain in said) == (taken is not None)
    assert ("more than chance" in said, "within chance" in said) == (taken is True, taken is False)
    assert compare(monkeypatch, f"runs=[{network}]") == 0
    assert f"promote run={network} " in capsys.readouterr().out


def test_the_page_says_of_each_pair_of_leaders_whether_they_differ(store, monkeypatch, tmp_path):
    for rate, signal in ((0.1, 3), (0.2, 3.2), (0.3, 0)):
        finished(optimizer__lr=rate, signal=signal)
    assert compare(monkeypatch) == 0
    page = (tmp_path / "comparison.html").read_text()
    section = page[page.index("Are the leaders really different?") : page.index("Which choice mattered")]
    found = {}
    for line in section.split("<tr>")[2:]:
        cells = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", line, re.DOTALL)]
        found[cells[0]] = {"val": (cells[1:3], cells[3]), "test": (cells[4:6], cells[6])}
    assert len(found) == 3
    for pair, splits in found.items():
        for (difference, p), verdict in splits.values():
            certain = "0.3" in pair  # the one that learned nothing
            assert verdict == ("different" if certain else "cannot tell")
            assert (float(unescape(p).removeprefix("< ")) < 0.05) == certain
            low = difference.replace("−", "-").partition("[")[2].partition(",")[0]
            assert (float(low) > 0) == certain


def test_as_many_leaders_are_tested_as_asked_for(store, monkeypatch, tmp_path):
    for rate in range(6):
        finished(optimizer__lr=rate, signal=rate)
    for leaders, pairs in ((2, "1 pair"), (6, "15 pairs")):
        assert compare(monkeypatch, f"leaders={leaders}") == 0
        assert f"p corrected for {pairs} (Holm)" in (tmp_path / "comparison.html").read_text()


def test_a_page_that_cannot_be_written_loses_nothing(store, monkeypatch, tmp_path, capsys):
    finished()
    page = tmp_path / "there.html"
    monkeypatch.setattr("pathlib.Path.write_bytes", refused)
    assert compare(monkeypatch, f"output={page}") == 2
    told = capsys.readouterr()
    assert "Best on val" in told.out
    assert len(told.err.strip().splitlines()) == 1
    assert "it cannot be written (Permission denied); the page is in MLflow" in told.err
    [run] = store.search_runs([store.get_experiment_by_name("birds").experiment_id], "tags.stage = 'compare'")
    assert {file.path for file in store.list_artifacts(run.info.run_id, "comparison")} == {
        "comparison/comparison.html",
        "comparison/leaderboard.csv",
    }


def refused(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_its_run_does_not_stay_running_when_it_fails(store, monkeypatch):
    finished()
    monkeypatch.setattr("pipeline.experiment.comparison_run.write_comparison", refused)
    assert compare(monkeypatch) == 1
    [run] = store.search_runs([store.get_experiment_by_name("birds").experiment_id], "tags.stage = 'compare'")
    assert run.info.status == "FAILED"
