"""Two processes train one network as one does; the second one is started once for all that is asked here."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import Stopped
from pipeline.config.keys import CONF
from pipeline.data.digest import data_digest
from pipeline.experiment.familiar import Noted, familiar_of
from pipeline.experiment.follower import MODULE
from pipeline.experiment.inference import shared_answers
from pipeline.experiment.shared_work import all_do, hand_over, shared_features
from pipeline.experiment.training import prepare, train
from pipeline.training.loop import Progress
from pipeline.training.ranks import Ranks, place_of

# Of 54 pictures of val and 107 of test the last batch has one, which leaves the second process none.
TINY = (
    "data=digits", "data.classes=3", "data.fraction=0.5", "model=squeezenet", "head.dropout=0", "loss=weighted",
    "loss.class_weights=[1,2,4]", "optimizer=sgd", "optimizer.lr=0.0003", "trainer.epochs=2", "trainer.batch_size=53",
    "trainer.threads=1", "trainer.accelerator=cpu", "trainer.precision=fp32",
)  # fmt: skip


def composed(devices):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", [*TINY, f"trainer.devices={devices}"]), "train")


def trained(config, prepared, folder):
    epochs = list(train(config, prepared, folder, Progress()))
    noted = Noted(familiar_of(config, prepared))
    answers = {split: shared_answers(config, prepared, split, noted.add) for split in ("val", "test")}
    figures = [[one.train_loss, one.train_accuracy, one.val_loss, one.val_accuracy] for one in epochs]
    looks = noted.looks
    return SimpleNamespace(config=config, prepared=prepared, figures=np.array(figures), answers=answers, looks=looks)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    config = composed(1)
    return trained(config, prepare(config), tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    config = composed(2)
    with Ranks(place_of(config.trainer)) as ranks, ranks.lost_in_one_line():
        ranks.start(MODULE)
        prepared = replace(prepare(config), ranks=ranks)
        hand_over(config, config, prepared, data_digest(prepared.table))
        yield trained(config, prepared, tmp_path_factory.mktemp("pair"))


def test_the_curve_is_that_of_one_process(alone, pair):
    assert pair.figures == pytest.approx(alone.figures, rel=1e-4)


def test_each_picture_is_answered_once_in_its_place(alone, pair):
    for split, said in alone.answers.items():
        assert pair.answers[split].ids.tolist() == said.ids.tolist()
        assert pair.answers[split].logits == pytest.approx(said.logits, abs=1e-4)
    assert pair.looks.distance == pytest.approx(alone.looks.distance, rel=1e-3)


def test_features_are_made_in_shares(pair):
    config, prepared = pair.config, pair.prepared
    rows, ranks = prepared.table.where("val"), prepared.ranks
    made = all_do(config, prepared, shared_features, 0, "val", None, rows, None)
    assert made.shape == (len(rows), prepared.network.n_features)
    assert np.isfinite(made).all()
    assert ranks.share == (0, 2)


def test_a_process_that_dies_is_told_of_in_a_line(pair):
    (other,) = pair.prepared.ranks._started
    os.kill(other.pid, signal.SIGKILL)
    died = pytest.raises(Stopped, match=r"^process 2 of 2 ended before its time \(signal 9")
    with died, pair.prepared.ranks.lost_in_one_line():
        shared_answers(pair.config, pair.prepared, "val")
