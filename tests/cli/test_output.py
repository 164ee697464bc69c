import pytest

from pipeline.cli.output import check_output
from pipeline.common.errors import BadInput
from pipeline.serving.answers_file import holds_answers


def test_answers_replace_nothing_but_answers(tmp_path):
    picture, other, earlier = (tmp_path / name for name in ("0.jpg", "mine.csv", "answers.csv"))
    picture.write_bytes(b"a photograph")
    other.write_text("path,label\n")
    earlier.write_text("picture,label,probability\n")
    link = tmp_path / "link.csv"
    link.symlink_to(picture)
    for output, said in ((picture, "ends in .csv"), (link, "one of the pictures"), (other, "something else")):
        with pytest.raises(BadInput, match=said):
            check_output(str(output), ".csv", "answers", holds_answers, [picture])
    assert check_output(str(earlier), ".csv", "answers", holds_answers, [picture]) == earlier
