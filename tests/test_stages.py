import pytest
from hydra import compose, initialize_config_dir

from pipeline.door import CONF, check
from pipeline.errors import BadInput
from pipeline.stages import check_epochs


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return check(compose("train", list(overrides)), "train")


def test_weights_are_kept_of_epochs_that_there_are():
    check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[1,10]"))
    check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[12]", "regime.head_epochs=2"))
    with pytest.raises(BadInput, match=r"^trainer\.keep_epochs=\[11, 50\]: the last epoch is 10$"):
        check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[3,11,50]"))
    with pytest.raises(BadInput, match="the last epoch is 12, 2 of them of the head alone"):
        check_epochs(composed("trainer.epochs=10", "trainer.keep_epochs=[13]", "regime.head_epochs=2"))
