import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.composed import composed
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF


def test_a_config_is_composed_beside_the_one_that_the_command_runs_with():
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        own = GlobalHydra.instance().hydra
        assert composed("train", ["data=folder", "data.root=/a, b", "regime=frozen"]).data.root == "/a, b"
        assert GlobalHydra.instance().hydra is own


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["seed=-1"], "seed=-1: should be greater than or equal to 0"),
        (["data=nowhere"], "data=nowhere: no such choice"),
        (["+typo=1"], "unknown key typo"),
        (["seed='"], "seed="),
    ],
)
def test_what_the_command_would_refuse_is_refused_in_its_words(typed, said):
    with pytest.raises(BadInput) as error:
        composed("train", typed)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1
