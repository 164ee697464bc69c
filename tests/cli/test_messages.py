import errno
import os

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli.messages import BAD_INPUT, FAILED, exit_code, one_line, tell
from pipeline.common.errors import BadInput


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_file_that_the_system_forbids_is_told_in_a_line(tmp_path, monkeypatch, number):
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path / "kept" / "here"))
    for file, remedy in (
        (tmp_path / "kept" / "here" / "claims", "PIPELINE_CACHE"),
        (tmp_path / "kept", "PIPELINE_CACHE"),
        (tmp_path / "mlruns" / "1", "work in another folder"),
    ):
        error = OSError(number, os.strerror(number), str(file))
        assert exit_code(error) == BAD_INPUT
        assert one_line(error).startswith(f"{file}: {os.strerror(number)}; make it accessible, or")
        assert remedy in one_line(error)


def test_a_full_disk_is_told_in_a_line(capsys):
    tell(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "scratch/made", None, "mine/birds.onnx"))
    assert (
        capsys.readouterr().err == "error: mine/birds.onnx: No space left on device; free some room, and try it again\n"
    )


def test_other_errors_of_the_system_keep_their_traceback():
    assert exit_code(OSError(errno.EIO, os.strerror(errno.EIO), "disk")) == FAILED


def test_what_an_interpolation_found_wrong_is_said_without_omegaconfs_frame():
    def nothing_here():
        raise BadInput("of no network are the weights here")

    OmegaConf.register_new_resolver("nothing_here", nothing_here, replace=True)
    with pytest.raises(OmegaConfBaseException) as raised:
        OmegaConf.resolve(OmegaConf.create({"model": "${nothing_here:}"}))
    assert one_line(raised.value) == "of no network are the weights here"
    assert exit_code(raised.value) == BAD_INPUT
