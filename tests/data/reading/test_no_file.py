"""What bears a picture's name and is no file: never opened, as a pipe would be waited at for ever."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.reading.loading import PictureBatches
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.sources import read_source
from pipeline.data.split_files import read_split
from pipeline.data.splits import split_table
from pipeline.data.survey.duplicates import leaks
from pipeline.data.survey.measure import Parts, collect
from pipeline.data.table import PictureTable
from pipeline.data.taxonomy import join_taxonomy

SAYS = "is not a file but a pipe, a socket or a device"


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """A pipe that is opened all the same fails the test, and does not hang it."""

    def stop(*_: object) -> None:
        raise RuntimeError("it was opened, and waited at")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(path.parent)  # a socket's name may have about 100 bytes
        one.bind(path.name)


MAKE: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture(params=MAKE)
def odd(request: pytest.FixtureRequest, photos: PictureTable, monkeypatch: pytest.MonkeyPatch) -> PictureTable:
    """The photographs, and one that is no file."""
    assert photos.root is not None
    monkeypatch.chdir(photos.root)
    MAKE[request.param](photos.root / "cat" / "odd.jpg")
    return read_source("folder", root=str(photos.root))


def batches(table: PictureTable, on_unreadable: str) -> PictureBatches:
    return PictureBatches(
        table, np.arange(len(table.rows)), Preprocessing(16), batch_size=4, on_unreadable=on_unreadable
    )


def test_it_is_named_or_left_out(odd: PictureTable) -> None:
    with pytest.raises(BadInput, match=rf"cat/odd\.jpg {SAYS}; put it right"):
        list(batches(odd, "raise"))
    loader = batches(odd, "skip")
    assert sum(len(batch.labels) for batch in loader) == 11
    assert loader.skipped == {f"{odd.root}/cat/odd.jpg": SAYS}


def test_looking_at_all_pictures_names_it(odd: PictureTable) -> None:
    facts = collect(list(Parts(odd, np.arange(len(odd.rows)), Preprocessing(16))))
    [broken] = facts[facts["problem"] != ""].to_dict("records")
    assert (odd.rows["path"][broken["row"]], broken["problem"]) == ("cat/odd.jpg", SAYS)


def test_it_is_no_copy_of_anything(odd: PictureTable) -> None:
    """Even where the table took it for a file of some size, before it became what it is."""
    rows = odd.rows.assign(bytes=1000)
    assert leaks(split_table(odd.with_rows(rows), val=0.2, test=0.2)).empty


def test_a_table_that_lists_it(odd: PictureTable, tmp_path: Path) -> None:
    listing = tmp_path / "table.csv"
    odd.rows[["path", "label"]].to_csv(listing, index=False)
    with pytest.raises(BadInput, match=rf"cat/odd\.jpg {SAYS}"):
        read_source("table", file=str(listing), root=str(odd.root))
    table = read_source("table", file=str(listing), root=str(odd.root), on_unreadable="skip")
    assert table.skipped == {"cat/odd.jpg": SAYS}


@pytest.mark.parametrize("key", ["data.file", "data.split.file", "data.taxonomy"])
def test_a_table_that_is_none_itself(key: str, odd: PictureTable) -> None:
    assert odd.root is not None
    (odd.root / "cat" / "odd.jpg").rename(odd.root / "cat" / "odd.csv")
    file = f"{odd.root}/cat/odd.csv"
    read: dict[str, Callable[[], object]] = {
        "data.file": lambda: read_source("table", file=file),
        "data.split.file": lambda: read_split(odd, file),
        "data.taxonomy": lambda: join_taxonomy(odd, file),
    }
    with pytest.raises(BadInput, match=rf"{key}: .*odd\.csv {SAYS}; name the ") as told:
        read[key]()
    assert "\n" not in str(told.value)
