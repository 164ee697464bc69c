import json
import shutil
from pathlib import Path

import pytest

from pipeline.common.errors import BadInput
from pipeline.data.sources import json_stream, read_source
from tests.data.conftest import Write

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "specific_epithet")
SPECIES = {
    0: "Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
    7: "Animalia_Arthropoda_Arachnida_Araneae_Araneidae_Agalenatea_redii",
    9999: "Plantae_Tracheophyta_Polypodiopsida_Polypodiales_Woodsiaceae_Woodsia_glabella",
}
FOLDERS = {number: f"{number:05d}_{ranks}" for number, ranks in SPECIES.items()}
NAMES = ["Lumbricus terrestris", "Agalenatea redii", "Woodsia glabella"]


@pytest.fixture
def root(write: Write, tmp_path: Path) -> Path:
    for number, folder in FOLDERS.items():
        for version, pictures in (("2021_train_mini", 3), ("2021_valid", 1)):
            for picture in range(pictures):
                write(f"inat/{version}/{folder}/{number}-{picture}.jpg", size=(8, 8))
    return tmp_path / "inat"


def write_json(root: Path, version: str = "train_mini", **changes) -> Path:
    images = [
        {
            "id": 100 * number + picture, "width": 8, "height": 8, "license": 1,
            "file_name": f"{version}/{folder}/{number}-{picture}.jpg", "rights_holder": 'x "}, {" [y]',
            "date": "2016-02-06 16:28:00+00:00" if picture else None,
            "latitude": 28.5 if picture else None, "longitude": -16.25 if picture else None,
        }
        for number, folder in FOLDERS.items()
        for picture in range(3 if version == "train_mini" else 1)
    ]  # fmt: skip
    whole = {
        "info": {"year": 2021, "list": [1, 2]},
        "images": images,
        "categories": [
            {"id": number, **dict(zip(RANKS, SPECIES[number].split("_"), strict=True)), "supercategory": "x",
             "name": name, "common_name": f"common {number}", "image_dir_name": FOLDERS[number]}
            for number, name in zip(SPECIES, NAMES, strict=True)
        ],
        "annotations": [
            {"id": one["id"], "image_id": one["id"], "category_id": one["id"] // 100} for one in reversed(images)
        ],
        "licenses": [],
        **changes,
    }  # fmt: skip
    file = root / f"{version}.json"
    file.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))
    return file


def test_published_folders(root: Path) -> None:
    table = read_source("inat2021", root=str(root))
    assert table.classes == NAMES
    assert table.rows["split"].value_counts().to_dict() == {"train": 9, "val": 3, "test": 0}
    assert table.rows["path"].iloc[3] == f"2021_train_mini/{FOLDERS[7]}/7-0.jpg"
    assert table.taxonomy is not None
    assert table.taxonomy.loc["Agalenatea redii", "class"] == "Arachnida"
    assert table.taxonomy.loc["Agalenatea redii", "species"] == "Agalenatea redii"


@pytest.mark.parametrize("chunk", [7, 100, 1 << 22])
def test_published_json(root: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    from_folders = read_source("inat2021", root=str(root))
    write_json(root)
    table = read_source("inat2021", root=str(root))
    assert sorted(table.rows["path"]) == sorted(from_folders.rows["path"])
    assert table.classes == NAMES
    labels = dict(zip(from_folders.rows["path"], from_folders.rows["label"], strict=True))
    assert [labels[path] for path in table.rows["path"]] == table.rows["label"].tolist()
    assert table.rows["latitude"].count() == 6
    assert table.rows["longitude"].min() == -16.25
    assert table.rows["date"].dropna().dt.year.unique().tolist() == [2016]
    assert table.taxonomy is not None
    assert table.taxonomy.loc["Woodsia glabella", "common_name"] == "common 9999"


def test_a_json_of_images_alone(root: Path) -> None:
    shutil.move(root / "2021_train_mini", root / "train_mini")
    file = write_json(root, annotations=None, categories=None)
    file = file.rename(root / "part.json")
    table = read_source("inat2021", root=str(root), train="part.json", val=None)
    assert table.classes == NAMES
    assert len(table.rows) == 9
    assert table.rows["split"].unique().tolist() == ["train"]


def test_a_categories_file_and_some_classes(root: Path, tmp_path: Path) -> None:
    csv = tmp_path / "categories.csv"
    lines = [f"{number},{FOLDERS[number].split('_', 1)[1].replace('_', ',')},the {number}" for number in SPECIES]
    csv.write_text("\n".join([f"id,{','.join(RANKS)},common_name", *lines]))
    table = read_source("inat2021", root=str(root), categories=str(csv), classes=2)
    assert table.classes == NAMES[:2]
    assert table.taxonomy is not None
    assert table.taxonomy["common_name"].tolist() == ["the 0", "the 7"]


def no_folder(root: Path) -> None:
    shutil.rmtree(root / "2021_train_mini")


def other_folders(root: Path) -> None:
    (root / "2021_train_mini/cats").mkdir()


def cut_short(root: Path) -> None:
    file = write_json(root)
    file.write_text(file.read_text()[:900])


def a_list(root: Path) -> None:
    (root / "train_mini.json").write_text("[1, 2]")


def no_name(root: Path) -> None:
    write_json(root, images=[{"id": 1}])


def no_annotation(root: Path) -> None:
    write_json(root, annotations=[{"image_id": 0, "category_id": 0}])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_folder, "neither a folder 2021_train_mini nor its JSON"),
        (other_folders, "'cats' is not named as published"),
        (cut_short, r"train_mini\.json is no JSON"),
        (a_list, r"'\[' where '{' should be"),
        (no_name, "a record of images without 'file_name'"),
        (no_annotation, "no annotation for 8 images"),
    ],
)
def test_sets_that_will_not_do(spoil, says: str, root: Path) -> None:
    spoil(root)
    with pytest.raises(BadInput, match=says) as told:
        read_source("inat2021", root=str(root))
    assert "\n" not in str(told.value)
