import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.predictions.predictions import Predictions
from pipeline.reporting.mistakes_page import mistakes_page


def jpeg(path: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (len(path), 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def sure_of(classes: list[str], labels: list[int], answers: list[int], how_sure: list[float]) -> Predictions:
    logits = np.zeros((len(labels), len(classes)), np.float32)
    logits[np.arange(len(labels)), answers] = how_sure
    return Predictions(np.array([f"folder/{row}.jpg" for row in range(len(labels))]), np.array(labels), classes, logits)


def test_a_planted_wrong_label_comes_first() -> None:
    found = sure_of(
        ["cat", "<script>dog"], [0] * 30 + [1] * 30, [0] * 29 + [1] * 30 + [0], [1.0] * 29 + [9] + [1.0] * 30
    )
    html = mistakes_page("net", "on test", found, lambda paths: {path: jpeg(path) for path in paths})
    first = html[html.index("Most confident errors</h2>") :]
    assert "<small>folder/29.jpg</small>" in first[: first.index("</figure>")]
    # A figure keeps its sign beside it, and stays behind a name that is written from right to left.
    assert "answer: <bdi>&lt;script&gt;dog</bdi> 100\xa0%<br>label: <bdi>cat</bdi> 0\xa0%" in html
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)  # nothing is fetched


def test_a_picture_that_is_gone_is_said() -> None:
    found = sure_of(["cat", "dog"], [0, 1], [1, 1], [3.0, 3.0])
    html = mistakes_page("net", "on test", found, lambda paths: {path: jpeg(path) for path in paths if "1" in path})
    assert html.count("gone, changed or unreadable now") == 3  # once in each section that shows it
    assert html.count("<img") == 2


def test_heat_maps_stand_beside_pictures_that_stand_alone() -> None:
    found = sure_of(["cat", "dog"], [0, 1, 0, 1], [1, 1, 0, 0], [3.0, 3.0, 2.0, 1.0])
    asked: list[int] = []

    def looks(places: np.ndarray) -> dict[int, bytes]:
        asked.extend(places.tolist())
        return {int(place): jpeg("a look") for place in places if place != 3}

    html = mistakes_page("net", "on test", found, lambda paths: {path: jpeg(path) for path in paths[1:]}, looks)
    assert asked == [1, 2, 3]  # the first picture is gone, and so what was looked at in it
    assert html.count("where the network looked") == html.count('class="twin"') == 2
    assert "Grad-CAM" in html
    assert "Grad-CAM" not in mistakes_page("net", "on test", found, lambda paths: {})


def test_where_pictures_lie_on_this_machine_is_not_told() -> None:
    found = sure_of(["cat", "dog"], [0, 1, 0], [1, 1, 0], [3.0, 3.0, 2.0])
    ids = np.array([f"/home/me/photos/{place}" for place in ("a/1.jpg", "a/2.jpg", "b/3.jpg")])
    html = mistakes_page("net", "on test", replace(found, ids=ids), lambda paths: {path: jpeg(path) for path in paths})
    assert "<small>a/1.jpg</small>" in html
    assert "/home/me" not in html


def test_no_mistakes() -> None:
    html = mistakes_page("net", "on val", sure_of(["a", "b"], [0, 1], [0, 1], [2.0, 1.0]), lambda paths: {})
    assert "Every answer was right." in html
    assert "Most confused pairs" not in html


@pytest.mark.parametrize("classes", [100, 3_000])
def test_many_classes_stay_small(classes: int) -> None:
    chance = np.random.default_rng(0)
    labels, answers = chance.integers(0, classes, (2, 5_902)).tolist()
    found = sure_of([f"class {code}" for code in range(classes)], labels, answers, chance.uniform(0, 9, 5_902).tolist())
    thumbnail = bytes(8_000)  # of 128 pixels a side, a large one
    html = mistakes_page("net", "on test", found, lambda paths: dict.fromkeys(paths, thumbnail))
    assert len(html) < 15_000_000
    assert html.count("<details>") == 100
    assert "details:has(.pictures)::details-content" in html.partition("@media print")[2]  # on paper nothing unfolds
