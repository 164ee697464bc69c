"""Detectors' files as they are published, and whose boxes they are."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.boxes.crop import COLUMNS
from pipeline.data.boxes.joining import with_boxes
from pipeline.data.boxes.published import read_detections
from pipeline.data.table import PICTURE, PictureTable

ANIMAL = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}
MD = {
    "images": [
        {"file": "a/1.jpg", "detections": [ANIMAL, ANIMAL | {"bbox": [0.5, 0.5, 0.5, 0.5]}, ANIMAL | {"conf": 0.1}]},
        {"file": "a\\2.jpg", "detections": []},
        {"file": "a/3.jpg", "detections": [ANIMAL | {"category": "2"}, ANIMAL | {"conf": 0.05}]},
        {"file": "a/4.jpg", "detections": None, "failure": "Failure image access"},
        {"file": "a/5.jpg", "detections": [ANIMAL | {"classifications": [["7", 0.8], ["0", 0.2]]}]},
    ],
    "detection_categories": {"1": "animal", "2": "person"},
    "classification_categories": {"0": "elk", "7": "fox"},
    "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt"},
}
COCO = {
    "images": [
        {"id": "x", "file_name": "a/1.jpg", "width": 200, "height": 100},
        {"id": "y", "file_name": "a/2.jpg", "width": 200, "height": 100},
        {"id": "z", "file_name": "a/3.jpg"},
    ],
    "annotations": [
        {"id": 1, "image_id": "x", "category_id": 5, "bbox": [20, 20, 60, 40]},
        {"id": 2, "image_id": "z", "category_id": 0},
    ],
    "categories": [{"id": 0, "name": "empty"}, {"id": 5, "name": "fox"}],
}


@pytest.fixture
def file(tmp_path):
    def written(content):
        (tmp_path / "found.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return str(tmp_path / "found.json")

    return written


def pictures(*numbers):
    rows = pd.DataFrame({"path": pd.Series([f"a/{number}.jpg" for number in numbers], dtype="str")})
    unknown = pd.Categorical([None] * len(numbers))
    return PictureTable("traps", rows.assign(label=unknown, split=unknown))


def test_an_animal_has_a_row_and_a_picture_without_one_keeps_its_own(file, caplog):
    made = with_boxes(pictures(3, 1, 2, 4, 6), file(MD), 0.2).rows
    assert made["path"].tolist() == ["a/3.jpg", "a/1.jpg", "a/1.jpg#2", "a/2.jpg", "a/4.jpg", "a/6.jpg"]
    assert made[PICTURE].tolist() == ["a/3.jpg", "a/1.jpg", "a/1.jpg", "a/2.jpg", "a/4.jpg", "a/6.jpg"]
    assert made["box_category"].fillna("-").tolist() == ["person", "animal", "animal", "blank", "-", "-"]
    assert made[list(COLUMNS)].to_numpy()[1:3].tolist() == pytest.approx(
        np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]], np.float32)
    )
    assert made[list(COLUMNS)].isna().all(axis=1).tolist() == [True, False, False, True, True, True]
    assert "2 pictures without an animal" in caplog.text
    assert "2 pictures of which it says nothing" in caplog.text
    assert "1 of its pictures are not among these: a/5.jpg" in caplog.text


def test_pictures_of_one_animal_each_keep_their_names(file):
    made = with_boxes(pictures(5, 2), file(MD), 0.2)
    assert made.rows["path"].tolist() == ["a/5.jpg", "a/2.jpg"]
    assert PICTURE not in made.rows


def test_what_a_classifier_or_people_said_is_read(file):
    found = read_detections(file(MD), "data.boxes")
    assert not found.by_people
    assert found.table["label"].dropna().tolist() == ["fox"]
    found = read_detections(file(COCO), "data.boxes")
    assert found.by_people
    assert found.table["file"].tolist() == ["a/1.jpg", "a/3.jpg", "a/2.jpg"]
    assert found.table["category"].tolist() == ["animal", "blank", "blank"]
    assert found.table[list(COLUMNS)].to_numpy()[0] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_detector_may_tell_animals_apart_itself(file):
    kinds = {"1": "Fox", "2": "Person", "3": "Animal", "4": "empty"}
    boxes = [{"category": key, "conf": 0.9, "bbox": [0, 0, 0.5, 0.5]} for key in (1, "2", "3", "4")]
    images = [{"file": f"a/{place}.jpg", "detections": [box]} for place, box in enumerate(boxes, start=1)]
    found = read_detections(file(MD | {"detection_categories": kinds, "images": images}), "data.boxes").table
    assert found["category"].tolist() == ["animal", "person", "animal", "blank"]
    assert found["label"].fillna("").tolist() == ["Fox", "", "", ""]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (MD | {"info": {"format_version": "2.0"}}, r"its format_version is 2.0; 1\.x is read"),
        ({name: MD[name] for name in ("images", "detection_categories")}, "its format_version is None"),
        ([{"file": "a.jpg", "detections": []}], "is a list of another version"),
        ("{", "is no JSON"),
        ({"pictures": []}, "neither MegaDetector's detection_categories nor COCO's"),
        (MD | {"images": [{"file": "a/1.jpg", "detections": [{"conf": 1}]}]}, "is not of that form"),
        (MD | {"images": [{"file": "b/9.jpg", "detections": []}]}, "none of its pictures is one of these"),
        (MD | {"images": [{"file": "a/1.jpg", "detections": [ANIMAL | {"bbox": [10, 10, 50, 50]}]}]}, "is of pixels"),
        (MD | {"images": [{"file": "a/1.jpg", "detections": [ANIMAL | {"bbox": [0.5, 0, 0.9, 1]}]}]}, "lies outside"),
        (MD | {"info": "by hand"}, "are not of that form"),
        (MD | {"images": [{"file": "a/1.jpg", "failure": "unreadable"}]}, "nothing is said of any picture"),
        (MD | {"images": []}, "nothing is said of any picture"),
        (
            MD | {"images": [{"file": "a/1.jpg", "detections": [ANIMAL | {"conf": 90}]}]},
            "a confidence of 90, where",
        ),
        (COCO | {"annotations": [COCO["annotations"][0] | {"bbox": [1, 2, 3]}]}, "annotations: .* is not of that form"),
        (COCO | {"images": [{"id": "x", "file_name": "a/1.jpg"}, *COCO["images"][1:]]}, "lack width and height"),
        (COCO | {"images": COCO["images"][1:]}, "an annotation is of picture x"),
    ],
)
def test_a_file_of_another_form_is_refused(content, said, file):
    with pytest.raises(BadInput, match=said):
        with_boxes(pictures(1, 2, 3), file(content), 0.2)
