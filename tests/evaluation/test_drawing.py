import numpy as np
import pytest
from PIL import Image

from pipeline.predictions.builder import PredictionsBuilder
from pipeline.reporting.drawing import DrawingProcess
from pipeline.reporting.run_report import write_report

HISTORY = [{"epoch": 1, "train/loss": 2.0, "val/loss": 1.0, "train/accuracy": 0.4, "val/accuracy": 0.5}]


@pytest.fixture
def val():
    labels = np.arange(30) % 3
    builder = PredictionsBuilder(["ant", "bee", "cat"])
    builder.add([str(row) for row in range(30)], labels, np.eye(3, dtype=np.float32)[labels])
    return builder.finish()


def test_figures_drawn_beside_other_work_are_those_drawn_at_once(val, tmp_path):
    draw, folders = DrawingProcess(), [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        write_report(folder, {"val": val}, HISTORY, draw=draw)
    draw.close()
    write_report(tmp_path / "at once", {"val": val}, HISTORY)
    for name in ("curves.png", "confusion_matrix.png"):
        at_once = np.asarray(Image.open(tmp_path / "at once" / name))
        for folder in folders:
            assert np.array_equal(np.asarray(Image.open(folder / name)), at_once)


def test_figures_are_drawn_here_where_the_other_process_is_gone(val, tmp_path):
    draw = DrawingProcess()
    write_report(tmp_path / "first", {"val": val}, HISTORY, draw=draw)
    draw._process.kill()
    draw._process.wait()
    write_report(tmp_path / "second", {"val": val}, HISTORY, draw=draw)
    assert (tmp_path / "second" / "curves.png").is_file()
    draw.close()


def test_a_figure_that_cannot_be_drawn_leaves_the_others_and_is_told_of(val, tmp_path, capfd, caplog):
    draw = DrawingProcess()
    draw(tmp_path / "gone", "val", HISTORY, None)
    write_report(tmp_path / "there", {"val": val}, HISTORY, draw=draw)
    draw.close()
    assert (tmp_path / "there" / "confusion_matrix.png").is_file()
    assert f"the figures in {tmp_path / 'gone'} could not be drawn" in capfd.readouterr().err
    assert "not all figures could be drawn" in caplog.text
