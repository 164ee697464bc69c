"""Answers in the forms of MegaDetector, Camtrap DP and Darwin Core, and labels read back from them."""

import json

import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.sources import read_source
from pipeline.serving.published import check_also, darwin_core, megadetector, observations, write_also

BOX = {"box_x": 0.1, "box_y": 0.2, "box_width": 0.3, "box_height": 0.4, "box_confidence": 0.8}
FOX = {"label": "red fox", "probability": 0.7, "label_2": "elk", "probability_2": 0.3}
RANKS = {"family": "Canidae", "genus": "Vulpes", "species": "Vulpes vulpes", "common_name": "fox"}


@pytest.fixture
def rows(tmp_path):
    """Answers: two animals in a picture, a blank one, a person; and a Camtrap DP package of these pictures."""
    (tmp_path / "traps" / "media").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / "traps" / "media" / f"{number}.jpg")
    pictures = [str(tmp_path / "traps" / "media" / f"{number}.jpg") for number in range(3)]
    (tmp_path / "traps" / "datapackage.json").write_text(
        json.dumps({"profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1/camtrap-dp-profile.json"})
    )
    lines = [f"m{number},camera 1,2024-05-0{number + 1}T01:02:03Z,media/{number}.jpg" for number in range(3)]
    (tmp_path / "traps" / "media.csv").write_text("\n".join(["mediaID,deploymentID,timestamp,filePath", *lines]))
    return [
        {"picture": pictures[0], **FOX, **RANKS, **BOX},
        {"picture": pictures[0], **FOX, "label": "elk", "label_2": "red fox", **BOX, "box_x": 0.6},
        {"picture": pictures[1], "label": "blank", "probability": None},
        {"picture": pictures[2], "label": "person", "probability": None},
    ]


def test_megadetectors_form_is_written_and_read_as_labels(rows, tmp_path):
    plain = json.loads(megadetector(rows, tmp_path / "traps", "models:/traps@champion"))
    assert [one["file"] for one in plain["images"]] == ["media/0.jpg", "media/1.jpg", "media/2.jpg"]
    first, second = plain["images"][0]["detections"]
    assert first["bbox"] == [0.1, 0.2, 0.3, 0.4]
    names = plain["classification_categories"]
    assert [[names[code], sure] for code, sure in first["classifications"]] == [["red fox", 0.7], ["elk", 0.3]]
    assert [names[code] for code, _ in second["classifications"]] == ["elk", "red fox"]
    assert plain["images"][1]["detections"] == []
    (tmp_path / "traps" / "answers.json").write_text(json.dumps(plain))
    found = read_source("camera_traps", file=str(tmp_path / "traps" / "answers.json"), rows_of="animals")
    assert found.rows[["path", "label"]].to_numpy().tolist() == [
        ["media/0.jpg", "red fox"], ["media/0.jpg#2", "elk"], ["media/1.jpg", "blank"], ["media/2.jpg", "person"],
    ]  # fmt: skip
    assert found.files.tolist() == ["media/0.jpg", "media/0.jpg", "media/1.jpg", "media/2.jpg"]
    assert found.rows["box_x"].fillna(-1).tolist() == pytest.approx([0.1, 0.6, -1, 0])
    whole = read_source("camera_traps", file=str(tmp_path / "traps" / "answers.json"))
    assert whole.rows["label"].tolist() == ["blank", "person"]  # the other shows two kinds


def test_camtrap_dp_is_written_and_read_as_labels(rows, tmp_path):
    package = str(tmp_path / "traps")
    check_also([], package)
    written = write_also(rows, tmp_path / "said.csv", ["darwin_core"], tmp_path, "models:/traps@champion", package)
    assert written == ["said.dwc.csv", "said.observations.csv"]
    table = pd.read_csv(tmp_path / "said.observations.csv")
    assert table["observationType"].tolist() == ["animal", "animal", "blank", "human"]
    assert table["scientificName"].fillna("").tolist() == ["Vulpes vulpes", "elk", "", ""]
    assert table["mediaID"].tolist() == ["m0", "m0", "m1", "m2"]
    assert table["bboxX"].fillna(-1).tolist() == [0.1, 0.6, -1, -1]
    assert table["observationID"].is_unique
    (tmp_path / "said.observations.csv").rename(tmp_path / "traps" / "observations.csv")
    found = read_source("camera_traps", file=str(tmp_path / "traps" / "datapackage.json"), rows_of="animals")
    assert found.rows["label"].tolist() == ["Vulpes vulpes", "elk", "blank", "person"]
    (tmp_path / "traps" / "datapackage.json").write_text('{"profile": "https://.../camtrap-dp/0.1.4/profile.json"}')
    with pytest.raises(BadInput, match=r"Camtrap DP 1\.x is read"):
        check_also([], package)
    with pytest.raises(BadInput, match="name the package"):
        check_also(["camtrap_dp"], None)


def test_darwin_core_says_the_rank_and_that_nobody_verified_it(rows):
    terms = darwin_core(rows, "models:/traps@champion")
    assert terms["scientificName"].tolist() == ["Vulpes vulpes", "elk"]
    assert terms["taxonRank"].fillna("").tolist() == ["species", ""]
    assert terms["family"].fillna("").tolist() == ["Canidae", ""]
    assert set(terms["identificationVerificationStatus"]) == {"unverified"}


def test_what_is_written_down_is_the_rank_that_is_sure(rows, tmp_path):
    genus = {"taxon": "Vulpes", "rank": "genus", "taxon_probability": 0.95}
    none = {"taxon": None, "rank": None, "taxon_probability": None}
    whole = {"taxon": "Vulpes vulpes", "rank": "species", "taxon_probability": 0.7}
    said = [rows[0] | genus, rows[0] | none, rows[0] | whole, rows[0] | genus | {"checked": "yes"}]
    strange = darwin_core([rows[0] | whole | {"unknown": True}], "models:/traps@champion")
    assert strange[["scientificName", "taxonRank"]].isna().all(axis=None)
    terms = darwin_core(said, "models:/traps@champion").astype(object).fillna("")
    assert terms["scientificName"].tolist() == ["Vulpes", "", "Vulpes vulpes", "Vulpes vulpes"]
    assert terms["taxonRank"].tolist() == ["genus", "", "species", "species"]
    assert terms["genus"].tolist() == ["Vulpes", "", "Vulpes", "Vulpes"]
    assert terms["vernacularName"].tolist() == ["", "", "fox", "fox"]
    assert terms["identificationRemarks"].tolist()[0] == "probability 0.950"
    assert terms["verbatimIdentification"].tolist() == ["red fox"] * 4
    table, _ = observations(said, str(tmp_path / "traps"), "models:/traps@champion")
    assert table["scientificName"].fillna("").tolist() == ["Vulpes", "", "Vulpes vulpes", "Vulpes vulpes"]
    assert table["classificationProbability"].tolist() == [0.95, 0.7, 0.7, 0.7]


def test_labels_of_coco_camera_traps_are_read(tmp_path):
    for number in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.jpg")
    pictures = [{"id": str(number), "file_name": f"{number}.jpg", "location": "a"} for number in range(4)]
    kinds = [{"id": 0, "name": "empty"}, {"id": 1, "name": "fox"}, {"id": 2, "name": "elk"}]
    said = [(0, 1), (1, 0), (2, 2), (3, 1), (3, 2)]
    annotations = [{"id": n, "image_id": str(image), "category_id": kind} for n, (image, kind) in enumerate(said)]
    file = tmp_path / "traps.json"
    file.write_text(json.dumps({"images": pictures, "annotations": annotations, "categories": kinds}))
    found = read_source("camera_traps", file=str(file))
    assert dict(zip(found.rows["path"], found.rows["label"], strict=True)) == {
        "0.jpg": "fox", "1.jpg": "blank", "2.jpg": "elk",
    }  # fmt: skip
