import re

import numpy as np
import pandas as pd
import pytest

from pipeline.data.preprocessing import Preprocessing
from pipeline.data.splits import split_table
from pipeline.data.statistics import copies, leaking, sample
from pipeline.data.survey import Parts, collect, thumbnails
from pipeline.data.table import PictureTable
from pipeline.reporting.survey_page import Survey, metadata, survey_page


def made(n_classes: int, n: int) -> PictureTable:
    """Noise in memory, with a taxonomy, coordinates and a place."""
    chance = np.random.default_rng(0)
    names = [f"<b>class</b> {number}" for number in range(n_classes)]
    labels = pd.Categorical.from_codes(np.arange(n) % n_classes, categories=names)
    rows = pd.DataFrame({"path": [f"{row}.jpg" for row in range(n)], "label": labels})
    rows["split"] = pd.Categorical([None] * n, categories=["train", "val", "test"])
    rows["latitude"], rows["longitude"] = chance.uniform(-90, 90, n), chance.uniform(-180, 180, n)
    rows["region"] = chance.choice(["East", "West"], n)
    taxonomy = pd.DataFrame({"kingdom": ["Animalia", "Plantae"] * (n_classes // 2)}, index=names)
    taxonomy["phylum"] = taxonomy["kingdom"] + "-phylum"
    pixels = chance.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return split_table(PictureTable("made", rows, taxonomy=taxonomy, pixels=pixels), val=0.25, test=0)


@pytest.mark.parametrize("n_classes", [2, 100, 10_000])
def test_a_page_for_any_number_of_classes(n_classes: int) -> None:
    table = made(n_classes, max(40, 4 * n_classes))
    rows = sample(table, 200)
    facts = collect(list(Parts(table, rows, Preprocessing(8))))
    alike = copies(table, facts, 4)
    shown = thumbnails(table, facts["row"].to_numpy(), 8, "squash")
    html = survey_page(Survey(table, facts, alike, leaking(table, alike), shown, 4, 8))
    assert len(html) < 400_000
    assert "<b>class" not in html  # names are text, whatever they hold
    for title in ("Classes", "Taxonomy", "Copies and leaks", "Colours", "Metadata", "Sample pictures"):
        assert f"<h2>{title}</h2>" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)  # nothing is fetched
    assert ("a sample of 200 pictures was opened" in html) == (n_classes > 2)
    assert html.count("<figure>") == 8


def test_places_off_the_globe_are_not_drawn() -> None:
    table = made(2, 40)
    rows = table.rows.assign(latitude=[91.0, -30.0] * 20, longitude=[10.0, 150.0] * 20)
    [section] = metadata(table.with_rows(rows))
    html = "".join(section.parts)
    assert "20 of 40 pictures say where they were taken" in html
    assert html.count('class="dot"') == 1
    assert "120° E" in html
    assert "60° S" in html
