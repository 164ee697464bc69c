"""Answers in a CSV and in folders, what people make of them, and that it is read as labels and never lost."""

import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.sources import read_source
from pipeline.serving.answers_file import read_answers, write_answers
from pipeline.serving.review import check_folders, corrections, merged, put_into_folders


class KillsItself(str):
    """A picture's path at which the process that puts it somewhere is killed."""

    __slots__ = ()

    def __hash__(self):
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


@pytest.fixture
def rows(tmp_path):
    """Answers about six pictures, two of one name; of the last the model is not sure."""
    made = []
    for number, label in enumerate(["fox", "fox", "elk", "red/elk", "elk", "elk"]):
        picture = tmp_path / "new" / str(number // 5) / f"{number % 5}.png"
        picture.parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(picture)
        made.append({"picture": str(picture), "label": label, "probability": 0.9, "answered": number < 5})
    return made


@pytest.mark.parametrize("by", ["copy", "link"])
def test_pictures_go_into_folders_and_come_back_corrected(rows, by, tmp_path):
    folder = check_folders(str(tmp_path / "review"), [Path(row["picture"]) for row in rows])
    assert put_into_folders(rows, folder, by) == 6
    lie = {str(file.relative_to(folder)) for file in folder.rglob("*.png")}
    assert lie == {
        "sorted/fox/0.png", "sorted/fox/1.png", "sorted/elk/2.png", "sorted/red_elk/3.png", "sorted/elk/4.png",
        "unsure/elk/1_0.png",
    }  # fmt: skip
    assert (folder / "sorted/fox/0.png").is_symlink() == (by == "link")
    (folder / "sorted/wolf").mkdir()
    (folder / "sorted/fox/1.png").rename(folder / "sorted/wolf/1.png")
    (folder / "unsure/elk/1_0.png").rename(folder / "sorted/red_elk/1_0.png")
    (folder / "sorted/elk/2.png").unlink()
    output = tmp_path / "answers.csv"
    write_answers(rows, output)
    made, strange = merged(read_answers(output), corrections(str(folder)))
    assert strange == 0
    assert made["corrected"].fillna("").tolist() == ["", "wolf", "", "", "", "red/elk"]
    assert made["checked"].fillna("").tolist() == ["yes", "yes", "", "yes", "yes", "yes"]
    # Once more: what somebody dragged or deleted stays as it is.
    assert put_into_folders(rows, folder, by) == 0
    assert not (folder / "sorted/elk/2.png").exists()


@pytest.mark.parametrize("by", ["copy", "link"])
def test_putting_that_was_killed_goes_on(rows, by, tmp_path):
    folder = tmp_path / "review"
    child = os.fork()
    if child == 0:
        rows[3]["picture"] = KillsItself(rows[3]["picture"])
        put_into_folders(rows, folder, by)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(folder.rglob("*.png"))) == 3
    assert put_into_folders(rows, check_folders(str(folder), []), by) == 6
    assert len(list(folder.rglob("*.png"))) == 6
    assert len(corrections(str(folder))) == 5  # and one of which the model is not sure


def test_what_people_wrote_outlives_new_answers(rows, tmp_path):
    output = tmp_path / "answers.csv"
    write_answers(rows, output)
    table = pd.read_csv(output, dtype=str)
    table.loc[1, "corrected"] = "wolf"
    table.loc[2, "checked"] = "yes"
    table.loc[5, ["corrected", "checked"]] = ["=elk", "yes"]
    table.to_csv(output, index=False)
    write_answers([row | {"label": "bear"} for row in rows[:3]], output)
    again = read_answers(output)
    assert again["label"].tolist() == ["bear", "bear", "bear", "elk"]
    assert again["corrected"].fillna("").tolist() == ["", "wolf", "", "=elk"]
    assert again["checked"].fillna("").tolist() == ["", "", "yes", "yes"]


def test_a_corrected_csv_is_read_as_labels(rows, tmp_path, caplog):
    output = tmp_path / "answers.csv"
    write_answers(rows, output)
    with pytest.raises(BadInput, match="nobody has looked at these answers"):
        read_source("table", file=str(output))
    table = pd.read_csv(output, dtype=str)
    table["checked"] = ["yes", "", "TRUE", "no", "", ""]
    table["corrected"] = ["", "wolf", "", "", "", ""]
    table.to_csv(output, index=False)
    caplog.set_level("INFO")
    found = read_source("table", file=str(output))
    assert found.rows["path"].tolist() == ["0.png", "1.png", "2.png"]
    assert found.rows["label"].tolist() == ["fox", "wolf", "elk"]
    assert "3 of 6 answers" in caplog.text
    table["checked"] = "perhaps"
    table.to_csv(output, index=False)
    with pytest.raises(BadInput, match="checked is 'perhaps'"):
        read_source("table", file=str(output))


def test_animals_of_one_picture_are_corrected_apart(rows, tmp_path):
    output, box = tmp_path / "answers.csv", {"box_y": 0.1, "box_width": 0.2, "box_height": 0.2}
    animals = [rows[0] | box | {"box_x": 0.1}, rows[0] | box | {"box_x": 0.5}, rows[0] | box | {"box_x": 0.7}, rows[2]]
    write_answers(animals, output)
    table = pd.read_csv(output, dtype=str)
    table["corrected"] = ["", "wolf", "elk", ""]
    table["checked"] = ["", "yes", "yes", "yes"]
    table.to_csv(output, index=False)
    write_answers(animals, output)
    with pytest.raises(BadInput, match=r"shows several kinds: look at each animal with data\.crop=square"):
        read_source("table", file=str(output))
    apart = ["box_x", "box_y", "box_width", "box_height"]
    found = read_source("table", file=str(output), animals_by=apart)
    assert found.rows["path"].tolist() == ["0.png#2", "0.png#3", "2.png"]
    assert found.files.tolist() == ["0.png", "0.png", "2.png"]
    assert found.rows["label"].tolist() == ["wolf", "elk", "elk"]
    assert found.rows["box_x"].fillna(0).tolist() == [0.5, 0.7, 0]


def test_folders_that_cannot_be_are_refused(rows, tmp_path):
    pictures = [Path(row["picture"]) for row in rows]
    with pytest.raises(BadInput, match="pictures asked about lie in it"):
        check_folders(str(tmp_path / "new"), pictures)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds something else"):
        check_folders(str(tmp_path / "other"), pictures)
    with pytest.raises(BadInput, match=r"there is no .*pictures\.csv"):
        corrections(str(tmp_path / "other"))
    folder = check_folders(str(tmp_path / "review"), pictures)
    put_into_folders(rows, folder, "copy")
    (folder / "sorted/elk/0.png").write_bytes((folder / "sorted/fox/0.png").read_bytes())
    with pytest.raises(BadInput, match=r"0\.png lies in elk and in fox; keep one"):
        corrections(str(folder))
