import errno
import threading

import numpy as np
import pytest
import torch

from pipeline.training.feature_files import FeatureFiles, feature_key, weights_digest

VALUES = np.arange(12, dtype=np.float16).reshape(4, 3)


class Maker:
    """Counts how often features had to be made."""

    def __init__(self, values=VALUES):
        self.made, self.values = 0, values

    def __call__(self):
        self.made += 1
        return self.values


def test_made_once_and_mapped_from_then_on(tmp_path):
    make = Maker()
    first = FeatureFiles(tmp_path).get_or_make("a", make)
    again = FeatureFiles(tmp_path).get_or_make("a", make)
    assert make.made == 1
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(first, VALUES)
    np.testing.assert_array_equal(again, VALUES)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-5], lambda raw: b"nonsense", lambda raw: b""])
def test_a_damaged_file_is_made_anew_and_said_so(tmp_path, damage, caplog):
    make = Maker()
    FeatureFiles(tmp_path).get_or_make("a", make)
    file = tmp_path / "a.npy"
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level("INFO"):
        np.testing.assert_array_equal(FeatureFiles(tmp_path).get_or_make("a", make), VALUES)
    assert make.made == 2
    assert "made anew" in caplog.text
    np.testing.assert_array_equal(np.load(file), VALUES)


def test_a_full_disk_warns_and_goes_on(tmp_path, monkeypatch, caplog):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    make = Maker()
    np.testing.assert_array_equal(FeatureFiles(tmp_path).get_or_make("a", make), VALUES)
    assert make.made == 1
    assert "No space left on device" in caplog.text
    assert not list(tmp_path.glob("*.npy")) + list(tmp_path.glob(".making-*"))


def test_the_least_used_go_first_when_the_bound_is_reached(tmp_path):
    import os

    size = len((FeatureFiles(tmp_path).get_or_make("a", Maker()), (tmp_path / "a.npy").read_bytes())[1])
    files = FeatureFiles(tmp_path, most_gb=2.5 * size / 1e9)
    files.get_or_make("b", Maker())
    os.utime(tmp_path / "a.npy", (1, 1))
    files.get_or_make("c", Maker())
    assert {file.stem for file in tmp_path.glob("*.npy")} == {"b", "c"}


def test_no_room_asked_for_keeps_nothing(tmp_path):
    FeatureFiles(tmp_path / "none", most_gb=0).get_or_make("a", Maker())
    assert not (tmp_path / "none").exists()


def test_those_who_need_the_same_at_once_wait_for_the_one_that_makes_it(tmp_path):
    make = Maker()
    threads = [threading.Thread(target=FeatureFiles(tmp_path).get_or_make, args=("a", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.made == 1


def test_keys_follow_all_they_depend_on():
    state = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    digest = weights_digest(state)
    assert weights_digest(dict(reversed(state.items()))) == digest
    assert weights_digest({**state, "b": torch.tensor([1.0, 1.0000001])}) != digest
    assert len({feature_key("x"), feature_key("x", "y"), feature_key("xy"), feature_key("y", "x")}) == 4
