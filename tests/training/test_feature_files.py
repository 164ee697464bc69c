import errno
import multiprocessing
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.feature_files import FeatureFiles, feature_key, weights_digest

PICTURES = np.array([70, 10, 40, 2**64 - 1], dtype=np.uint64)


class Maker:
    """Makes features of `pictures` that say whose they are, and notes which were asked for."""

    def __init__(self, pictures=PICTURES):
        self.asked, self.pictures = [], pictures

    def __call__(self, missing):
        self.asked.append(missing.tolist())
        return expected(self.pictures[missing])


def expected(pictures):
    return np.stack([pictures % 97, pictures % 89, pictures % 83], axis=1).astype(np.float16)


def get(folder, make, **options):
    return FeatureFiles(folder, **options).get_or_make("how", make.pictures, make).read()


def files(folder):
    return sorted(folder.rglob("*.features.npy"))


def test_made_once_and_mapped_from_then_on(tmp_path):
    make = Maker()
    for _ in range(2):
        rows = FeatureFiles(tmp_path).get_or_make("how", PICTURES, make)
        np.testing.assert_array_equal(rows.read(), expected(PICTURES))
    assert make.asked == [[0, 1, 2, 3]]
    assert all(isinstance(part, np.memmap) for part in rows.parts)


def test_another_way_of_making_them_is_kept_apart(tmp_path):
    make = Maker()
    for how in ("one", "other", "one"):
        FeatureFiles(tmp_path).get_or_make(how, PICTURES, make)
    assert len(make.asked) == 2


@given(st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=5))
def test_whatever_is_asked_for_each_picture_is_made_once(tables):
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for table in tables:
            pictures = np.array(table, dtype=np.uint64) * np.uint64(2**60)
            make = Maker(pictures)
            rows = FeatureFiles(Path(folder)).get_or_make("how", pictures, make)
            assert len(rows) == len(table)
            if table:
                np.testing.assert_array_equal(rows.read(), expected(pictures))
                some = np.arange(0, len(table), 2)
                np.testing.assert_array_equal(rows.choose(some).read(), expected(pictures)[some])
            for missing in make.asked:
                assert missing == sorted(missing)
                made += pictures[missing].tolist()
        assert sorted(made) == sorted({picture * 2**60 for table in tables for picture in table})


def test_pictures_that_could_not_be_read_are_asked_for_again(tmp_path):
    asked = []

    def make(missing):
        asked.append(missing.tolist())
        values = expected(PICTURES[missing])
        values[np.isin(missing, [1, 2])] = np.nan
        return values

    for _ in range(2):
        rows = FeatureFiles(tmp_path).get_or_make("how", PICTURES, make)
        assert rows.readable().tolist() == [True, False, False, True]
    assert asked == [[0, 1, 2, 3], [1, 2]]


def hold(folder, what, made, go_on):
    """Make features of PICTURES as `what`'s, and take until told to go on."""

    def make(missing):
        made.set()
        go_on.wait(60)
        return expected(PICTURES[missing])

    FeatureFiles(folder, pictures_of=what).get_or_make("how", PICTURES, make)


@pytest.fixture
def busy(tmp_path):
    """Another process that makes features of the birds."""
    spawn = multiprocessing.get_context("spawn")
    made, go_on = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path, "birds", made, go_on))
    process.start()
    assert made.wait(60)
    yield process, go_on
    if process.is_alive():  # of one that was killed as it waited, an answer would be waited for
        go_on.set()
    process.join()


def test_another_data_set_is_not_waited_for(tmp_path, busy):
    process, _ = busy
    make = Maker(PICTURES // np.uint64(2))
    FeatureFiles(tmp_path, pictures_of="flowers").get_or_make("how", make.pictures, make)
    assert len(make.asked) == 1
    assert process.is_alive()


def test_who_waits_says_for_whom_and_how_long(tmp_path, busy, caplog, monkeypatch):
    process, go_on = busy
    waited = []
    monkeypatch.setattr("pipeline.common.locks._PATIENCE", 0.2)
    threading.Timer(1, go_on.set).start()
    with caplog.at_level("INFO"):
        make = Maker()
        FeatureFiles(tmp_path, pictures_of="birds", waited=waited.append).get_or_make("how", PICTURES, make)
    assert make.asked == []
    assert f"waiting for process {process.pid}, which makes features of birds" in caplog.text
    assert len(waited) == 1


def test_a_process_that_was_killed_is_not_waited_for(tmp_path, busy, caplog):
    process, _ = busy
    (tmp_path / "how" / ".making-left.features.npy.x").write_bytes(b"half")
    process.kill()
    process.join()
    with caplog.at_level("INFO"):
        make = Maker()
        FeatureFiles(tmp_path, pictures_of="birds").get_or_make("how", PICTURES, make)
    assert len(make.asked) == 1
    assert "waiting" not in caplog.text
    assert not list(tmp_path.rglob(".making-*"))


@pytest.mark.parametrize("left", [-5, -60, 150, 100, 20, 0, None])
def test_a_damaged_file_is_made_anew_and_said_so(tmp_path, left, caplog):
    make = Maker()
    get(tmp_path, make)
    (file,) = files(tmp_path)
    file.write_bytes(b"nonsense" if left is None else file.read_bytes()[:left])
    with caplog.at_level("INFO"):
        np.testing.assert_array_equal(get(tmp_path, make), expected(PICTURES))
    assert len(make.asked) == 2
    assert "made anew" in caplog.text
    np.testing.assert_array_equal(get(tmp_path, make), expected(PICTURES))
    assert len(make.asked) == 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("200 requested and 83 written"), "83 written: is the disk full?"),  # as numpy has it, of arrays
    ],
)
def test_a_full_disk_warns_and_goes_on(error, why, tmp_path, monkeypatch, caplog):
    def full(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(np, "save", full)
    make = Maker()
    np.testing.assert_array_equal(get(tmp_path, make), expected(PICTURES))
    assert len(make.asked) == 1
    assert why in caplog.text
    assert not list(tmp_path.rglob("*.npy")) + list(tmp_path.rglob(".making-*"))


def test_the_least_used_go_first_when_the_bound_is_reached(tmp_path):
    get(tmp_path, Maker())
    (first,) = files(tmp_path)
    bound = 2.5 * first.stat().st_size / 1e9
    get(tmp_path, Maker(PICTURES // np.uint64(2)), most_gb=bound)
    os.utime(first, (1, 1))
    get(tmp_path, Maker(PICTURES // np.uint64(3)), most_gb=bound)
    assert len(files(tmp_path)) == 2
    assert not first.exists()


def test_no_room_asked_for_keeps_nothing(tmp_path):
    make = Maker()
    np.testing.assert_array_equal(get(tmp_path / "none", make, most_gb=0), expected(PICTURES))
    assert not (tmp_path / "none").exists()


def test_those_who_need_the_same_at_once_wait_for_the_one_that_makes_it(tmp_path):
    make = Maker()
    threads = [threading.Thread(target=get, args=(tmp_path, make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(make.asked) == 1


def test_keys_follow_all_they_depend_on():
    state = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    digest = weights_digest(state)
    assert weights_digest(dict(reversed(state.items()))) == digest
    assert weights_digest({**state, "b": torch.tensor([1.0, 1.0000001])}) != digest
    assert len({feature_key("x"), feature_key("x", "y"), feature_key("xy"), feature_key("y", "x")}) == 4


def test_many_are_kept_part_by_part_so_that_what_breaks_off_has_not_all_to_do_again(tmp_path):
    make, asked = Maker(), []

    def breaks(missing):
        asked.append(missing.tolist())
        if len(asked) == 2:
            raise LookupError
        return make(missing)

    with pytest.raises(LookupError):
        FeatureFiles(tmp_path).get_or_make("how", PICTURES, breaks, 3)
    rows = FeatureFiles(tmp_path).get_or_make("how", PICTURES, breaks, 3)
    np.testing.assert_array_equal(rows.read(), expected(PICTURES))
    assert asked == [[0, 1, 2], [3], [3]]
    rows = FeatureFiles(tmp_path).get_or_make("other", PICTURES, make, 3)
    np.testing.assert_array_equal(rows.read(), expected(PICTURES))
    assert [len(part) for part in rows.parts] == [3, 1]
    assert all(isinstance(part, np.memmap) for part in rows.parts)
