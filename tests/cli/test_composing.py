import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.composing import ComposedOnce
from pipeline.config.keys import CONF


@pytest.fixture
def loader():
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        yield GlobalHydra.instance().config_loader()


def master(loader):
    return loader.load_configuration("train", ["seed=0,1"], RunMode.MULTIRUN)


def test_a_job_is_what_hydra_itself_composes(loader):
    once, config = ComposedOnce(loader), master(loader)
    for head in ("linear", "mlp"):
        for seed in (0, 1):
            job = [
                f"head={head}",
                f"seed={seed}",
                "++tracking.tags.site=reef",
                "data.split={seed: 3}",
                "~data.fraction",
            ]
            assert OmegaConf.to_yaml(once.load_sweep_config(config, job)) == OmegaConf.to_yaml(
                loader.load_sweep_config(config, job)
            )


def test_a_job_of_no_legal_key_is_refused_as_hydra_refuses_it(loader):
    once, config = ComposedOnce(loader), master(loader)
    once.load_sweep_config(config, ["seed=0"])
    with pytest.raises(ConfigCompositionException, match="Could not override 'sed'"):
        once.load_sweep_config(config, ["sed=1"])
    assert once.load_sweep_config(config, ["seed=1"]).seed == 1
