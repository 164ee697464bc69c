import multiprocessing
import tempfile

import pytest

from pipeline.common.atomic import OWN_FOLDERS, clear_abandoned, held_folder, scratch_folder, write_atomically


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "facts.json"
    for text in ("one", "two"):
        write_atomically(file, lambda path, text=text: path.write_text(text))
        assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    file = tmp_path / "facts.json"
    file.write_text("old")

    def half(path):
        path.write_text("ha")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(file, half)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def hold(folder, made, go_on):
    """Be in the middle of writing a file, and have a folder, until told to go on."""

    def half(path):
        path.write_text("ha")
        made.set()
        go_on.wait(60)

    folders.append(held_folder("species-pipeline-test-", folder))
    write_atomically(folder / "facts.json", half)


folders = []


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_killed_process_left_goes_what_a_living_one_makes_stays(tmp_path, killed):
    spawn = multiprocessing.get_context("spawn")
    made, go_on = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path, made, go_on))
    process.start()
    assert made.wait(60)
    if killed:
        process.kill()
        process.join()
    (tmp_path / "species-pipeline-other").mkdir()
    with held_folder("species-pipeline-test-", tmp_path):
        write_atomically(tmp_path / "other.json", lambda path: path.write_text("other"))
    left = {path.name.split("-test-")[0].split(".json")[0] for path in tmp_path.iterdir()}
    own = {"other", "species-pipeline-other"}
    assert left == (own if killed else own | {".making-facts", "species-pipeline"})
    if not killed:
        go_on.set()
    process.join()
    assert killed or (tmp_path / "facts.json").read_text() == "ha"


def hold_scratch(folder, made, go_on):
    tempfile.tempdir = str(folder)
    with scratch_folder() as own:
        (own / "weights").write_text("half")
        made.set()
        go_on.wait(60)


def test_scratch_of_a_killed_command_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    made, go_on = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold_scratch, args=(tmp_path, made, go_on))
    process.start()
    assert made.wait(60)
    with scratch_folder() as own:
        clear_abandoned(tmp_path, f"{OWN_FOLDERS}*")
        assert len(list(tmp_path.glob("*"))) == 2
        assert own.is_dir()
    process.kill()
    process.join()
    clear_abandoned(tmp_path, f"{OWN_FOLDERS}*")
    assert not list(tmp_path.iterdir())
