"""What is checked before a training begins."""

import pytest
from hydra import compose, initialize_config_dir

from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.experiment.training import prepare


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return check(compose("train", list(overrides)), "train")


@pytest.mark.parametrize(
    ("size", "limit", "better"), [(1, "null", 2), (1, 2, 2), (1257, "null", 1258), (419, "null", 420)]
)
def test_a_batch_of_one_picture_is_refused_where_batch_norm_has_to_learn_from_it(size, limit, better):
    said = rf"trainer\.batch_size={size}: .* try trainer\.batch_size={better}$"
    with pytest.raises(BadInput, match=said):
        prepare(composed(f"trainer.batch_size={size}", f"trainer.limit_batches={limit}"))


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.batch_size=419", "trainer.limit_batches=2"),  # the last batch does not come up
        ("trainer.batch_size=1", "data.image_size=64"),  # more than one pixel is left
        ("trainer.batch_size=1", "model=squeezenet", "data.image_size=64"),  # no batch-norm
    ],
)
def test_other_batches_of_one_picture_are_fine(overrides):
    prepare(composed(*overrides))
