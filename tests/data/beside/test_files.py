"""Tables beside the pictures: whose their rows are, what finds no partner, what disagrees."""

import pandas as pd
import pytest

from pipeline.common.errors import BadInput
from pipeline.data.beside.files import with_files_beside

ROWS = pd.DataFrame({
    "path": ["a/1.jpg", "a/2.jpg", "b/3.jpg"],
    "label": pd.Categorical(["a", "a", "b"]),
    "specimen": [7.0, 8.0, None],
})  # fmt: skip


@pytest.fixture
def joined(tmp_path):
    def _joined(*texts, rows=ROWS):
        files = []
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.csv").write_text(text)
            files.append(str(tmp_path / f"{number}.csv"))
        return with_files_beside(rows, tmp_path, files, "data.beside")

    return _joined


@pytest.mark.parametrize(
    "text",
    [
        "path,region\na/2.jpg,north\na/1.jpg,south\n",
        "region,file\nnorth,elsewhere/2.jpg\nsouth,elsewhere/1.jpg\n",
        "Stem,region\n2,north\n1,south\n",
        "specimen,region\n8,north\n7,south\n",
        "path,region\n{root}/a/2.jpg,north\n{root}/a/1.jpg,south\n",
        "path,region\n./a/2.jpg,north\na\\1.jpg,south\n",
    ],
)
def test_rows_are_of_pictures_by_path_name_stem_or_of_specimens(text, joined, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        found = joined(text.format(root=tmp_path))
    assert found["region"].fillna("").tolist() == ["south", "north", ""]
    assert "1 pictures of which it says nothing: b/3.jpg" in caplog.text


def test_rows_are_of_classes_and_numbers_are_numbers(joined, caplog):
    with caplog.at_level("WARNING"):
        found = joined("species,depth,label\na,3,x\nb,4.5,y\nc,9,z\n")
    assert found["depth"].tolist() == [3, 3, 4.5]
    assert found["label_given"].tolist() == ["x", "x", "y"]
    assert found["label"].tolist() == ["a", "a", "b"]
    assert "1 rows of which there is no picture: c" in caplog.text


def test_a_column_called_as_one_of_the_programs_makes_room(joined):
    found = joined("file,path,split,bytes,picture_path\n1.jpg,p,s,4,x\n")
    assert found["path"].tolist() == ROWS["path"].tolist()
    assert list(found)[3:] == ["path_given", "split_given", "bytes_given", "picture_path_given"]


def test_several_files_fill_each_other_up(joined):
    found = joined("path,region\na/1.jpg,south\na/2.jpg,\n", "label,region\na,south\nb,east\n")
    assert found["region"].tolist() == ["south", "south", "east"]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["path,region\nx/9.jpg,north\n"], "none of its pictures is one of these: it has 9.jpg|x/9.jpg"),
        (["region,depth\nnorth,3\n"], "none of its columns says whose its rows are .region, depth.: name one path"),
        (["path,region\na/1.jpg,north\na/1.jpg,south\n"], "two rows of path 'a/1.jpg' disagree; keep one"),
        (["path,region\na/1.jpg,north\n", "label,region\na,south\nb,\n"], "region of a/1.jpg is south here and north"),
        (["path,region\n"], "it has no row below its titles"),
        (["path,region,region\na/1.jpg,1,2\n"], "two columns are called 'region'"),
    ],
)
def test_what_does_not_fit_is_said(texts, said, joined):
    with pytest.raises(BadInput, match=said):
        joined(*texts)


def test_a_name_that_several_pictures_have_is_no_ones(joined):
    rows = ROWS.assign(path=["a/1.jpg", "b/1.jpg", "b/3.jpg"])
    with pytest.raises(BadInput, match=r"1\.jpg is the name of several pictures: give their paths"):
        joined("file,region\n1.jpg,north\n3.jpg,south\n", rows=rows)
