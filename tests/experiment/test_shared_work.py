"""Two processes train one network as one does; the second one is started once for all that is asked here.

In float64, as steps let float32's last digit grow: what is left of a difference there is none of rounding.
"""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from double_follower import layouts
from hydra import compose, initialize_config_dir

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import Stopped
from pipeline.config.keys import CONF
from pipeline.data.digest import data_digest
from pipeline.experiment import build, stages
from pipeline.experiment.familiar import Noted, familiar_of
from pipeline.experiment.inference import shared_answers
from pipeline.experiment.shared_work import all_do, hand_over, shared_features
from pipeline.experiment.training import prepare, train
from pipeline.training.features import compute_features
from pipeline.training.loop import Progress
from pipeline.training.ranks import Ranks, place_of

# Of 54 pictures of val and 107 of test the last batch has one, which leaves the second process none.
TINY = (
    "data=digits", "data.classes=3", "data.fraction=0.5", "model=squeezenet", "head.dropout=0", "loss=weighted",
    "loss.class_weights=[1,2,4]", "loss.label_smoothing=0.1", "optimizer=adamw", "optimizer.lr=0.0003",
    "scheduler=cosine", "trainer.epochs=2", "trainer.batch_size=53", "trainer.accumulate=2", "trainer.clip_norm=1",
    "trainer.threads=1", "trainer.accelerator=cpu", "trainer.precision=fp32",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def in_float64():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)


def composed(devices):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", [*TINY, f"trainer.devices={devices}"]), "train")


def trained(config, prepared, folder):
    epochs = list(train(config, prepared, folder, Progress()))
    noted = Noted(familiar_of(config, prepared))
    answers = {split: shared_answers(config, prepared, split, noted.add) for split in ("val", "test")}
    figures = [[one.train_loss, one.train_accuracy, one.val_loss, one.val_accuracy] for one in epochs]
    return SimpleNamespace(
        config=config, prepared=prepared, figures=np.array(figures), weights=prepared.network.state_dict(),
        answers=answers, looks=noted.looks,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    config = composed(1)
    return trained(config, prepare(config), tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    config = composed(2)
    with Ranks(place_of(config.trainer)) as ranks, ranks.lost_in_one_line():
        ranks.start("double_follower")
        prepared = replace(prepare(config), ranks=ranks)
        hand_over(config, config, prepared, data_digest(prepared.table))
        stages.learning(config, prepared, stages.stages(config)[0].phase)
        assert all_do(config, prepared, layouts) == ["torch.channels_last"] * 2  # else features have other last digits
        yield trained(config, prepared, tmp_path_factory.mktemp("pair"))


def test_the_curve_is_that_of_one_process(alone, pair):
    assert pair.figures == pytest.approx(alone.figures, rel=1e-12)
    for name, weights in alone.weights.items():
        torch.testing.assert_close(pair.weights[name], weights, rtol=1e-10, atol=1e-12)


def test_each_picture_is_answered_once_in_its_place(alone, pair):
    for split, said in alone.answers.items():
        assert pair.answers[split].ids.tolist() == said.ids.tolist()
        assert pair.answers[split].logits == pytest.approx(said.logits, abs=1e-6)  # kept as float32
    assert pair.looks.distance == pytest.approx(alone.looks.distance, rel=1e-6)


def test_features_made_in_shares_are_those_of_one_process(alone, pair):
    rows, sight, table = pair.prepared.table.where("train"), alone.prepared.network.sights[0], alone.prepared.table
    made = all_do(pair.config, pair.prepared, shared_features, 0, "train", None, rows, None)
    batches = build.batches(alone.config, table, sight.parts[0].preprocessing, "train", rows=rows)
    np.testing.assert_array_equal(made, compute_features(sight, batches, rows=rows, fabric=alone.prepared.fabric))


def test_a_process_that_dies_is_told_of_in_a_line(pair):
    (other,) = pair.prepared.ranks._started
    os.kill(other.pid, signal.SIGKILL)
    died = pytest.raises(Stopped, match=r"^process 2 of 2 ended before its time \(signal 9")
    with died, pair.prepared.ranks.lost_in_one_line():
        shared_answers(pair.config, pair.prepared, "val")
