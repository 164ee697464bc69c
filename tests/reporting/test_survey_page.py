import html as markup
import re
import shlex
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

from pipeline.cli.quoting import quote_path
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.splits import split_table
from pipeline.data.survey.measure import Parts, collect, thumbnails
from pipeline.data.survey.names import Proposal
from pipeline.data.survey.statistics import copies, leaking, sample
from pipeline.data.table import PictureTable
from pipeline.reporting.charts import bars, histogram
from pipeline.reporting.survey_page import Survey, classes, metadata, survey_page


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


def test_bars_are_text_of_any_width() -> None:
    counts = pd.DataFrame({"train": [6, 1], "val": [2, 0]}, index=["<b>one", "two"])
    html = bars(counts, title="Pictures")
    assert re.findall(r"width:([\d.]+)%", html) == ["75.00", "25.00", "12.50", "0.00"]
    assert re.findall(r"<dt>(.*?)</dt><dd>.*?<span>(.*?)</span>", html) == [("&lt;b&gt;one", "8"), ("two", "1")]
    assert "<svg" not in html


def test_charts_say_what_they_are() -> None:
    table = made(100, 400)
    html = "".join(classes(table).parts + metadata(table)[0].parts)
    drawn = re.findall(r"<svg[^>]*>", html)
    assert drawn
    assert all('role="img" aria-label="' in one for one in drawn)


def test_places_off_the_globe_are_not_drawn() -> None:
    table = made(2, 40)
    rows = table.rows.assign(latitude=[91.0, -30.0] * 20, longitude=[10.0, 150.0] * 20)
    [section] = metadata(table.with_rows(rows))
    html = "".join(section.parts)
    assert "20 of 40 pictures say where they were taken" in html
    assert html.count('class="dot"') == 1
    assert "120° E" in html
    assert "60° S" in html


@pytest.mark.parametrize("name", ["site", "site name", "O'Brien's site, old", "größe (cm)=${x}", "2019", "<b>"])
def test_the_remedy_for_a_column_that_tells_can_be_pasted(name: str) -> None:
    table = made(2, 400)
    [section] = metadata(table.with_rows(table.rows.assign(**{name: ["a", "b"] * 200})))
    [shown] = re.findall('<pre class="command">(.*?)</pre>', "".join(section.parts))
    [argument] = shlex.split(markup.unescape(shown))
    override = OverridesParser.create().parse_override(quote_path(argument))
    assert override.key_or_group == "data.split.group"
    assert OmegaConf.create({"group": override.value()})["group"] == name


def test_what_names_say_is_proposed_as_a_key_that_can_be_pasted() -> None:
    [section] = metadata(made(2, 400), Proposal("{part_1}'s {}", {"part_1": ["north", "<south>"]}))
    html = "".join(section.parts)
    assert "part_1 is north, &lt;south&gt;, ..." in html
    [shown] = re.findall('<pre class="command">(.*?)</pre>', html)
    [argument] = shlex.split(markup.unescape(shown))
    override = OverridesParser.create().parse_override(quote_path(argument))
    assert (override.key_or_group, override.value()) == ("data.from_path", "{part_1}'s {}")


@pytest.mark.parametrize("rooted", [True, False])
def test_a_page_to_share_tells_no_place_of_this_machine_nor_of_the_picture(rooted, tmp_path) -> None:
    """Pictures by absolute paths, with GPS in their EXIF: a copy that is a leak, a broken one, one that was skipped."""
    home = tmp_path / "home" / "zelda"
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (47.0, 3.0, 4.5), 3: "E", 4: (8.0, 1.0, 2.5)}
    names = [f"{label}/{number}.jpg" for label in ("auk", "coot") for number in range(4)]
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (10, 200, 30)).save(home / name, exif=exif, comment=b"at home")
    (home / "coot/3.jpg").write_bytes(b"no picture")
    labels = pd.Categorical([name.partition("/")[0] for name in names])
    rows = pd.DataFrame({"path": [str(home / name) for name in names], "label": labels})
    rows["split"] = pd.Categorical([None] * 8, categories=["train", "val", "test"])
    skipped = {str(home / "auk/old.gif"): "is a GIF"}
    table = replace(PictureTable("birds", rows, root=home if rooted else None), skipped=skipped)
    table = split_table(table, val=0.25, test=0)
    facts = collect(list(Parts(table, np.arange(8), Preprocessing(8))))
    alike = copies(table, facts, 4)
    shown = thumbnails(table, facts.loc[facts["problem"] == "", "row"].to_numpy(), 4, "squash")
    html = survey_page(Survey(table, facts, alike, leaking(table, alike), shown, 4, 8))
    assert "auk/0.jpg" in html
    assert "coot/3.jpg" in html
    assert "auk/old.gif" in html or "old.gif" in html
    assert "zelda" not in html
    assert str(tmp_path) not in html
    for jpeg, _ in shown:
        assert b"Exif" not in jpeg
        assert b"at home" not in jpeg


@pytest.mark.parametrize("most", [10_000, 9_000])
def test_the_numbers_under_a_histogram_do_not_touch(most):
    drawn = histogram(np.array([1.0, 414, most]), title="Width", unit=" px")
    found = re.findall(r'<text x="([\d.]+)" y="138.0" text-anchor="(\w+)">([^<]+)<', drawn)
    assert len(found) > 2
    shift = {"start": 0, "middle": 0.5, "end": 1}
    sides = [(float(x) - 7 * len(text) * shift[kind], 7 * len(text)) for x, kind, text in found]  # some 7 a letter
    assert all(one + width < other for (one, width), (other, _) in pairwise(sides))
