import json
import pickle
from pathlib import Path

import pandas as pd
import pytest
import torch
from stored import load_best

from pipeline.data.preprocessing import Preprocessing
from pipeline.errors import BadInput
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.training.checkpoints import (
    BEST_FACTS,
    BEST_WEIGHTS,
    LAST,
    NetworkFacts,
    Saver,
    drop_last,
    read_facts,
    read_last,
    save_best,
)
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

    monkeypatch.setattr("safetensors.torch.save_file", full)
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


def test_an_unfinished_runs_state_comes_back_and_goes_when_it_is_done(trial, tmp_path):
    def go(progress, epochs):
        one = trial(epochs=6, progress=progress)
        saver = Saver(tmp_path, one.network, progress, every=0)
        if progress.epoch == 0 and (tmp_path / LAST).exists():
            saver.restore()
        saver.follow(one.optimizer, one.schedule)
        figures = []
        for record in one:
            figures.append((record.epoch, record.train_loss, record.val_loss, record.val_accuracy))
            saver.save_if_due()
            if record.epoch == epochs:
                break
        return figures

    whole = go(Progress(), 6)
    drop_last(tmp_path)
    assert not (tmp_path / LAST).exists()
    assert go(Progress(), 2) + go(Progress(), 6) == whole


def test_saving_waits_its_time(trial, tmp_path):
    one = trial()
    saver = Saver(tmp_path, one.network, Progress(), every=3600)
    saver.follow(one.optimizer, one.schedule)
    saver.save_if_due()
    assert not (tmp_path / LAST).exists()


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
            read_last(state)
    assert not (tmp_path / "ran").exists()
    state.unlink()
    with pytest.raises(BadInput, match="missing"):
        read_last(state)


@pytest.mark.parametrize("content", [{"format_version": 2}, {"network": {}}, [1]])
def test_a_state_of_another_version_is_refused(content, tmp_path):
    torch.save(content, tmp_path / LAST)
    with pytest.raises(BadInput, match=r"format_version .*; this version reads 1"):
        read_last(tmp_path / LAST)
