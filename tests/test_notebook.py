"""The commands as functions: what they give back, what they raise, and that they leave the process as it was."""

import logging
import signal
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from pipeline import notebook
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF

TINY = ("model=squeezenet", "trainer.epochs=1", "trainer.limit_batches=2", "trainer.batch_size=8", "trainer.threads=1")


def state():
    """What a second call, or the user's own code, could trip over."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    log = logging.getLogger("pipeline")
    return {
        "hydra": GlobalHydra.instance().hydra,
        "hydra config": HydraConfig.instance().cfg,
        "active run": mlflow.active_run(),
        "signals": [signal.getsignal(getattr(signal, name)) for name in names],
        "threads": torch.get_num_threads(),
        "denormals": bool(torch.full((64,), 1e-40).mul(1.0).any()),
        "chance": torch.random.get_rng_state().tolist(),
        "folder": Path.cwd(),
        "typed": list(sys.argv),
        "log": (list(log.handlers), log.level, log.propagate),
    }


def test_a_table_is_read_as_training_would_use_it(store, tmp_path):
    for species in ("auk", "crane, grey"):
        folder = tmp_path / "my photos" / species
        folder.mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (number, 0, len(species))).save(folder / f"{number}.png")
    table = notebook.pictures("data=folder", f"data.root={tmp_path / 'my photos'}", "data.split.val=0.2")
    assert table["label"].value_counts().to_dict() == {"auk": 10, "crane, grey": 10}
    assert table["split"].value_counts().to_dict() == {"train": 12, "val": 4, "test": 4}


def test_from_training_to_an_answer(store, tmp_path, capsys):
    before = state()
    runs = [notebook.train(*TINY, f"seed={seed}") for seed in (0, 1)]
    together = notebook.ensemble("strategies=[soft_vote]")
    assert state() == before
    assert "best epoch 1" in capsys.readouterr().out
    one = runs[0]
    assert store.get_run(one.id).data.tags["overrides"] == " ".join([*TINY, "seed=0"])
    assert one.metrics["best/val_accuracy"] == one.answers()["correct"].mean()
    assert one.curve()["epoch"].tolist() == [1]
    assert one.confusion().to_numpy().sum() == len(one.answers())
    errors = one.errors()
    assert (errors["label"] != errors["predicted"]).all()
    assert errors["probability"].is_monotonic_decreasing
    assert len(one.classes()) == 10
    assert (one.folder / "mistakes.html").is_file()
    found = notebook.runs()
    assert set(found["id"]) == {runs[0].id, runs[1].id, together.id}
    assert found["val_accuracy"].is_monotonic_decreasing
    assert notebook.result(together.id).metrics == together.metrics
    assert notebook.compare()["n"].tolist() == [2]
    address = notebook.promote(f"run={one.id}")
    assert address == "models:/digits@champion"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "new one.png")
    said = notebook.ask(tmp_path / "new one.png", "top_k=2")
    how_deep = ["taxon", "rank", "taxon_probability", "why", "unknown"]
    assert list(said) == ["picture", "label", "probability", "label_2", "probability_2", *how_deep]
    assert not list(tmp_path.glob("*.csv"))
    assert state() == before


def test_a_look_at_test_is_counted(store):
    run = notebook.train(*TINY)
    run.errors()
    assert "test_looks" not in store.get_run(run.id).data.tags
    run.errors("test")
    assert store.get_run(run.id).data.tags["test_looks"] == "1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("trainer.epoch=3", "unknown key trainer.epoch; did you mean trainer.epochs?"),
        ("trainer.epochs=0", "trainer.epochs=0: should be greater than or equal to 1"),
        ("model=resnet51", "model=resnet51: no such choice; did you mean resnet50?"),
        ("data=folder", "data.root is missing: give it as data.root=..."),
        ("-m", "-m: overrides are wanted, such as 'trainer.epochs=5'; options belong on a command line"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(store, given, said):
    before = state()
    with pytest.raises(BadInput) as raised:
        notebook.train(given)
    assert str(raised.value) == said
    assert raised.value.__suppress_context__
    assert state() == before
    assert store.search_experiments(filter_string="name = 'digits'") == []


def test_a_cell_that_is_interrupted_leaves_a_killed_run_and_a_process_to_go_on_with(store, monkeypatch):
    before = state()

    def interrupted(_epoch):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.experiment.training_run.describe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            notebook.train(*TINY)
    assert state() == before
    (run,) = store.search_runs([store.get_experiment_by_name("digits").experiment_id])
    assert run.info.status == "KILLED"
    assert "val/accuracy" in notebook.train(*TINY).metrics


def test_a_users_own_hydra_is_left_to_it_and_an_own_mlflow_run_is_not_mixed_in(store):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = GlobalHydra.instance().hydra
        assert len(notebook.pictures()) == 1797
        assert GlobalHydra.instance().hydra is own
    with mlflow.start_run(experiment_id="0"), pytest.raises(BadInput, match=r"mlflow.end_run"):
        notebook.train(*TINY)
