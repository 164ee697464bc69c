"""What names of files and folders say of pictures: a pattern where they agree, nothing where they do not."""

import random

import pandas as pd
import pytest

from pipeline.data.beside.paths import with_columns_of_paths
from pipeline.data.survey.names import proposal
from pipeline.data.table import PictureTable

N = 400
CHANCE = random.Random(0)
LABELS = sorted(f"c{number % 8}" for number in range(N))
REGIONS = [CHANCE.choice(["north", "south", "east"]) for _ in range(N)]


def table(name, **columns):
    paths = [name(number, label, region) for number, (label, region) in enumerate(zip(LABELS, REGIONS, strict=True))]
    return PictureTable("named", pd.DataFrame({"path": paths, "label": LABELS, "split": None} | columns))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        (lambda number, label, region: f"{region}/{label}/{number}.jpg", "{folder_1}/{}/{}"),
        (lambda number, label, region: f"set/{region}/{label}/a_{number}.jpg", "{folder_2}/{}/{}"),
        (lambda number, label, region: f"{label}-{region}-{number}.jpg", "{}-{part_2}-{}"),
        (lambda number, label, region: f"{label}/{region} {number}.jpg", "{part_1} {}"),
        (lambda number, label, region: f"202{len(region) % 2}/{label}/{region}_{number}.jpg", "{year}/{}/{part_1}_{}"),
        (lambda number, label, region: f"{label}/MZ{number // 5}_{number % 5}.jpg", "{specimen}_{}"),
    ],
)  # fmt: skip
def test_names_that_agree_make_a_pattern_that_fits(name, pattern):
    given = table(name)
    found = proposal(given)
    assert found.pattern == pattern
    made = with_columns_of_paths(given.rows[["path"]], found.pattern)
    assert set(made) == {"path", *found.values}
    assert made.notna().all(axis=None)
    for column, some in found.values.items():
        assert set(some) <= set(made[column])
        assert column in found.said


@pytest.mark.parametrize(
    "name",
    [
        lambda number, label, region: f"{label}/{CHANCE.getrandbits(64):016x}.jpg",
        lambda number, label, region: f"{label}/{CHANCE.getrandbits(32):08x}-{CHANCE.getrandbits(12):03x}.jpg",
        lambda number, label, region: f"{label}/IMG_{number % 50:04d}.jpg",  # each class's pictures numbered anew
        lambda number, label, region: f"{label}/{CHANCE.choice(['IMG', 'DSC'])}_{number}.jpg",
        lambda number, label, region: f"{label}/{label} ({number}).jpg",
        lambda number, label, region: f"{label}/2021{number % 12:02d}{number % 28:02d}_{number}.jpg",
        lambda number, label, region: f"family {ord(label[1]) % 3}/{label}/{number}.jpg",  # the class tells it
        lambda number, label, region: f"{CHANCE.choice(['train', 'val'])}/{label}/{number}.jpg",
        lambda number, label, region: f"{label}/{'-'.join(['a'] * CHANCE.randint(1, 4))}-{region}-{number}.jpg",
        lambda number, label, region: f"{region}/{label}/{number}.jpg" if number % 20 else f"{number}.jpg",
    ],
)
def test_names_that_say_nothing_more_make_none(name):
    assert proposal(table(name)) is None


def test_what_a_column_says_already_is_not_proposed():
    assert proposal(table(lambda number, label, region: f"{region}/{label}/{number}.jpg", region=REGIONS)) is None
