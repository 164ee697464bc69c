import multiprocessing
import os

import numpy as np
import pytest

from pipeline.common.atomic import open_held
from pipeline.common.cache_folder import BoundedFolder


def kept(folder, number):
    """A file of 100 bytes, last used in that order."""
    file = folder / f"{number}.kept"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(100))
    os.utime(file, (number, number))
    return file


def test_what_was_unused_for_longest_goes_first_and_nothing_of_others(tmp_path):
    files = [kept(tmp_path / "below", number) for number in (3, 1, 2)]
    other = tmp_path / "theirs.txt"
    other.write_bytes(bytes(1000))
    bound = BoundedFolder(tmp_path, 300e-9, ".kept")
    assert bound.make_room(0) == 0
    assert bound.make_room(150, besides=files[2]) == 200
    assert [file.exists() for file in files] == [True, False, True]
    assert bound.make_room(1000) == 300
    assert list(tmp_path.rglob("*.*")) == [other]


def hold(file, how, opened, go_on):
    """Have a file open, or mapped, until told to go on."""
    handle = open_held(file)
    if how == "mapped":
        with os.fdopen(handle, "rb") as stream:
            mapped = np.memmap(stream, np.uint8, "r")
    opened.set()
    go_on.wait(60)
    if how == "mapped":
        assert len(mapped) == 100


@pytest.mark.parametrize("how", ["open", "mapped"])
@pytest.mark.parametrize("killed", [True, False])
def test_what_another_process_holds_is_left(tmp_path, how, killed):
    first, second = (kept(tmp_path, number) for number in (1, 2))
    spawn = multiprocessing.get_context("spawn")
    opened, go_on = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold, args=(first, how, opened, go_on))
    process.start()
    assert opened.wait(60)
    if killed:
        process.kill()
        process.join()
    assert BoundedFolder(tmp_path, 200e-9, ".kept").make_room(50) == 100
    assert first.exists() != killed
    assert second.exists() == killed
    if not killed:
        go_on.set()
    process.join()
