from pathlib import Path

import pytest

from pipeline.common.errors import BadInput
from pipeline.data.digest import class_counts
from pipeline.data.sources import read_source
from pipeline.data.sources.cub200 import class_attributes
from pipeline.data.splits import split_table
from pipeline.data.taxonomy import join_taxonomy
from tests.data.conftest import Write

CLASSES = {1: "001.Black_footed_Albatross", 4: "004.Groove_billed_Ani", 200: "200.Common_Yellowthroat"}


@pytest.fixture
def birds(write: Write, tmp_path: Path) -> Path:
    """Eighteen pictures of three classes; ids have gaps, as in a part of the set."""
    root = tmp_path / "CUB"
    files = {10 * n: f"{CLASSES[[1, 4, 200][n % 3]]}/{n:04d}.jpg" for n in range(1, 19)}
    for file in files.values():
        write(f"CUB/images/{file}")
    labels = {number: int(file[:3]) for number, file in files.items()}
    for name, lines in {
        "images.txt": files,
        "classes.txt": CLASSES,
        "image_class_labels.txt": labels,
        "train_test_split.txt": {number: int(number <= 120) for number in files},
        "bounding_boxes.txt": dict.fromkeys(files, "60.0 27.0 325.0 304.0"),
    }.items():
        (root / name).write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    (root / "attributes").mkdir()
    (root / "attributes/attributes.txt").write_text("1 has_wing_color::red\n2 has_bill_color::yellow\n")
    (root / "attributes/image_attribute_labels.txt").write_text("10 1 1 4 2.5\n10 2 0 3 1\n20 2 1 0 3 0 0 3.4\n")
    (root / "attributes/class_attribute_labels_continuous.txt").write_text("0.0 97.5\n1 2\n3 4\n")
    return root


def test_the_published_layout(birds: Path) -> None:
    table = read_source("cub200", root=str(birds))
    assert table.classes == list(CLASSES.values())
    assert table.rows["path"].iloc[0] == "images/004.Groove_billed_Ani/0001.jpg"
    assert table.rows["label"].iloc[0] == "004.Groove_billed_Ani"
    assert class_counts(table).to_numpy().tolist() == [[4, 0, 2]] * 3
    assert table.rows["box_width"].unique().tolist() == [325]
    assert class_counts(split_table(table, val=0.25, test=0.2)).to_numpy().tolist() == [[3, 1, 2]] * 3


def test_attributes(birds: Path) -> None:
    rows = read_source("cub200", root=str(birds), attributes=True).rows
    assert rows["has_wing_color::red"].iloc[0]
    assert not rows["has_bill_color::yellow"].iloc[0]
    assert rows["has_bill_color::yellow"].iloc[1]
    shares = class_attributes(birds)
    assert shares.loc["001.Black_footed_Albatross", "has_bill_color::yellow"] == 97.5


def test_a_taxonomy_for_most_of_them(birds: Path, tmp_path: Path) -> None:
    csv = tmp_path / "taxa.csv"
    csv.write_text(
        "cub_class,class,order,species,common_name\n"
        "200.Common_Yellowthroat,Aves,Passeriformes,Geothlypis trichas,Common Yellowthroat\n"
        "999.Dodo,Aves,Columbiformes,Raphus cucullatus,Dodo\n"
        "001.black_footed_albatross,Aves,Procellariiformes,Phoebastria nigripes,Black-footed Albatross\n"
    )
    taxonomy = join_taxonomy(read_source("cub200", root=str(birds), classes=[CLASSES[4], CLASSES[200]]), str(csv))
    known = taxonomy.taxonomy
    assert known is not None
    assert list(known.columns) == ["class", "order", "species", "common_name"]
    assert list(known.index) == [CLASSES[4], CLASSES[200]]
    assert known.loc[CLASSES[4]].isna().all()
    assert known.loc[CLASSES[200], "species"] == "Geothlypis trichas"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("images.txt", None, r"no .*images\.txt"),
        ("images.txt", "one.jpg\n", r"line 1 of .*images\.txt is not: id path"),
        ("images.txt", "10 a.jpg\n10 b.jpg\n", "the id 10 twice"),
        ("image_class_labels.txt", "10 7\n", "lacks the label of picture 10"),
        ("image_class_labels.txt", "10 x\n", "lacks the label of picture 10"),
        ("image_class_labels.txt", "10 1\n", "says nothing of 17 pictures"),
        ("train_test_split.txt", "10 1\n", "says nothing of 17 pictures, such as 20"),
        ("train_test_split.txt", "".join(f"{10 * n} 2\n" for n in range(1, 19)), "'2' is neither 1"),
    ],
)
def test_layouts_that_will_not_do(file: str, text: str | None, says: str, birds: Path) -> None:
    if text is None:
        (birds / file).unlink()
    else:
        (birds / file).write_text(text)
    with pytest.raises(BadInput, match=says) as told:
        read_source("cub200", root=str(birds))
    assert "\n" not in str(told.value)
