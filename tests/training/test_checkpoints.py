import json
import pickle
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning_fabric.plugins.precision import MixedPrecision
from stored import load_best
from torch import nn

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models import saved as networks
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.saved import BEST_FACTS, BEST_WEIGHTS, NetworkFacts, read_facts, save_best
from pipeline.training import checkpoints
from pipeline.training.checkpoints import LAST, Saver, drop_state, read_state
from pipeline.training.hardware import make_fabric
from pipeline.training.loop import Progress


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Classifier(NetworkSpec("torchvision/squeezenet1_0", 2, Preprocessing(image_size=32)))


@pytest.fixture
def facts(network):
    taxonomy = pd.DataFrame({"genus": ["Felis", None]}, index=["cat", "dog"])
    return NetworkFacts(network.spec, ("cat", "dog"), taxonomy, epoch=3, val_accuracy=0.75)


def test_the_best_network_comes_back_as_it_was(network, facts, tmp_path):
    save_best(tmp_path, network, facts)
    loaded, told = load_best(tmp_path)
    assert not loaded.training
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert (told.spec, told.classes, told.epoch, told.val_accuracy) == (network.spec, ("cat", "dog"), 3, 0.75)
    pd.testing.assert_frame_equal(told.taxonomy, facts.taxonomy)


def test_writing_that_breaks_off_leaves_the_old_file_and_nothing_else(network, facts, tmp_path, monkeypatch):
    save_best(tmp_path, network, facts)
    before = (tmp_path / BEST_WEIGHTS).read_bytes()

    def full(_state, path):
        Path(path).write_bytes(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr("pipeline.models.saved.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_best(tmp_path, network, facts)
    assert (tmp_path / BEST_WEIGHTS).read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {BEST_WEIGHTS, BEST_FACTS}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plain: plain | {"format_version": 99}, "format_version 99; this version reads 1"),
        (lambda plain: {"classes": ["a"]}, "format_version None"),
        (lambda plain: {key: plain[key] for key in plain if key != "network"}, "no description of a network"),
        (lambda plain: plain | {"network": {"_target_": "os.system"}}, "no description of a network"),
    ],
)
def test_facts_of_another_kind_are_refused(change, said, network, facts, tmp_path):
    (tmp_path / BEST_FACTS).write_text(json.dumps(change(facts.to_dict())))
    with pytest.raises(BadInput, match=said):
        read_facts(tmp_path)


def test_missing_or_truncated_weights_are_refused(network, facts, tmp_path):
    save_best(tmp_path, network, facts)
    whole = (tmp_path / BEST_WEIGHTS).read_bytes()
    (tmp_path / BEST_WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="does not hold the weights"):
        load_best(tmp_path)
    (tmp_path / BEST_WEIGHTS).unlink()
    with pytest.raises(BadInput, match="does not hold the weights"):
        load_best(tmp_path)


class Going:
    """Training of a tiny network that saves; `until` an epoch at which it is killed. `facts` stand for a network's."""

    def __init__(self, trial, facts, folder, **options):
        self.progress = Progress()
        self.trial = trial(epochs=4, progress=self.progress, lr=2.0, **options)
        self.saver = Saver(folder, self.trial.network, self.progress, every=0)
        self.facts, self.folder = facts, folder

    def best(self):
        return replace(self.facts, epoch=self.progress.best_epoch, val_accuracy=self.progress.best_val_accuracy)

    def go(self, until=4):
        if (self.folder / LAST).exists():
            self.saver.restore(self.best)
        self.saver.follow(self.trial.optimizer, self.trial.schedule, self.trial.fabric)
        figures = []
        for record in self.trial if until > self.progress.epoch else ():
            figures.append((record.epoch, record.train_loss, record.val_loss, record.val_accuracy))
            self.saver.keep(self.best() if record.improved else None)
            if record.epoch == until:
                break
        return figures


@pytest.fixture
def going(trial, facts):
    return partial(Going, trial, facts)


def best_on_disk(folder):
    """The epoch that is told, and the weights."""
    return read_facts(folder).epoch, (folder / BEST_WEIGHTS).read_bytes()


def test_an_unfinished_runs_state_comes_back_and_goes_when_it_is_done(going, tmp_path):
    whole = going(tmp_path).go()
    drop_state(tmp_path)
    assert not (tmp_path / LAST).exists()
    assert going(tmp_path).go(2) + going(tmp_path).go() == whole


class Killed(BaseException):
    """As SIGKILL would: nothing that follows is run."""


@pytest.mark.parametrize("written", range(1, 13))
def test_killed_between_any_two_files_state_and_best_weights_agree(written, going, tmp_path, monkeypatch):
    going(tmp_path / "whole").go()
    whole = best_on_disk(tmp_path / "whole")
    really, count = checkpoints.write_atomically, iter(range(1, 100))

    def write(file, fill, **options):
        if next(count) > written:
            raise Killed
        really(file, fill, **options)

    folder = tmp_path / "killed"
    for module in (checkpoints, networks):
        monkeypatch.setattr(module, "write_atomically", write)
    with suppress(Killed):
        going(folder).go()
    for module in (checkpoints, networks):
        monkeypatch.setattr(module, "write_atomically", really)
    again = going(folder)
    again.go(until=0)  # what a run goes on from
    if again.progress.epoch:
        saved = read_state(folder)["progress"]
        epoch, weights = best_on_disk(folder)
        assert epoch == saved["best_epoch"] == again.progress.best_epoch
        (tmp_path / "fresh").mkdir()
        until_then = going(tmp_path / "fresh")
        until_then.go(until=saved["epoch"])
        assert best_on_disk(tmp_path / "fresh") == (epoch, weights)
    going(folder).go()
    assert best_on_disk(folder) == whole


def test_best_weights_that_an_earlier_version_wrote_after_its_state_count_until_they_are_equalled(
    going, facts, tmp_path
):
    going(tmp_path).go(2)
    stored = read_state(tmp_path)
    stored["progress"]["best_epoch"] = 1
    del stored["random_cuda"], stored["precision"]
    torch.save(stored, tmp_path / LAST)
    save_best(tmp_path, going(tmp_path).trial.network, replace(facts, epoch=3, val_accuracy=1.5))
    after = going(tmp_path)
    after.go()
    assert (after.progress.best_epoch, after.progress.best_val_accuracy) == (3, 1.5)
    assert read_facts(tmp_path).epoch == 3


def test_the_state_of_the_gradient_scaler_and_of_every_gpus_generator_comes_back(going, tmp_path, monkeypatch):
    gpus = [torch.arange(16, dtype=torch.uint8), torch.arange(16, 32, dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: gpus)
    brought = {}
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, number: brought.__setitem__(number, state))
    first = going(tmp_path)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=7)
    first.trial.fabric._strategy.precision = MixedPrecision("16-mixed", "cpu", scaler)
    first.go(1)
    second = going(tmp_path)
    fresh = torch.amp.GradScaler("cpu")
    second.trial.fabric._strategy.precision = MixedPrecision("16-mixed", "cpu", fresh)
    assert second.go(0) == []
    assert fresh.state_dict() == scaler.state_dict()
    assert fresh.get_scale() == scaler.get_scale()
    assert [brought[number].tolist() for number in (0, 1)] == [state.tolist() for state in gpus]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu_dropout_and_the_scaler_go_on_where_they_were(precision, going, line, tmp_path):
    class Dropping(line):
        def forward(self, inputs):
            return super().forward(Inputs(features=nn.functional.dropout(inputs.features, 0.5, self.training)))

    def trained(folder, until=4):
        torch.manual_seed(0)
        return going(folder, fabric=make_fabric("cuda", precision), network=Dropping(4, 3)).go(until)

    whole = trained(tmp_path / "whole")
    broken_off = trained(tmp_path / "broken", until=2)
    assert broken_off + trained(tmp_path / "broken") == whole


def test_saving_waits_its_time_and_a_short_run_has_no_state(trial, facts, tmp_path):
    one = trial()
    saver = Saver(tmp_path, one.network, Progress(), every=3600)
    saver.follow(one.optimizer, one.schedule, one.fabric)
    saver.keep(facts)
    assert {file.name for file in tmp_path.iterdir()} == {BEST_WEIGHTS, BEST_FACTS}


class Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_hostile_truncated_or_foreign_state_is_refused_and_nothing_in_it_runs(tmp_path):
    state = tmp_path / LAST
    torch.save({"format_version": 1, "network": {"weight": torch.zeros(5000)}}, state)
    whole = state.read_bytes()
    for content in (whole[:1000], b"", pickle.dumps(Touches(tmp_path / "ran")), b"no state at all"):
        state.write_bytes(content)
        with pytest.raises(BadInput, match=rf"{LAST} is missing, cut short or no saved state"):
            read_state(state.parent)
    assert not (tmp_path / "ran").exists()
    state.unlink()
    with pytest.raises(BadInput, match="missing"):
        read_state(state.parent)


@pytest.mark.parametrize("content", [{"format_version": 2}, {"network": {}}, [1]])
def test_a_state_of_another_version_is_refused(content, tmp_path):
    torch.save(content, tmp_path / LAST)
    with pytest.raises(BadInput, match=r"format_version .*; this version reads 1"):
        read_state(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "3", '{"format_version": 1, "network": []}'])
def test_facts_of_another_shape_are_refused(content, tmp_path):
    (tmp_path / BEST_FACTS).write_text(content)
    with pytest.raises(BadInput, match=rf"{BEST_FACTS} is missing or is no description of a network"):
        read_facts(tmp_path)
