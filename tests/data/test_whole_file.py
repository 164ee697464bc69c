import pytest

from pipeline.data.whole_file import write_whole


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "facts.json"
    for text in ("one", "two"):
        write_whole(file, lambda path, text=text: path.write_text(text))
        assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    file = tmp_path / "facts.json"
    file.write_text("old")

    def half(path):
        path.write_text("ha")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(file, half)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
