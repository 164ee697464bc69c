import pytest

from pipeline.common.errors import BadInput
from pipeline.data.unlabelled import find_pictures


@pytest.mark.parametrize("images", ["", " "])
def test_no_picture_is_named(images):
    with pytest.raises(BadInput, match="names no picture"):
        find_pictures(images)


def test_hidden_pictures_are_not_asked_about(tmp_path):
    for name in ("IMG.jpg", "._IMG.jpg", ".trash/1.jpg", "more/2.PNG", "more/.3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    hidden = tmp_path / ".trash"
    assert [path.name for path in find_pictures(str(tmp_path))] == ["IMG.jpg", "2.PNG"]
    assert find_pictures(str(hidden)) == [hidden / "1.jpg"]  # asked for by name
