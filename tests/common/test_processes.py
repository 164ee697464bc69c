import pytest

from pipeline.common.processes import local_rank_given, rank_given

SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, None),
        ({"RANK": "1", "WORLD_SIZE": "2"}, None),  # of somebody else's making
        ({"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}, 1),
        (SLURM, 1),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        (SLURM | {"SLURM_JOB_NAME": "interactive"}, None),
        (SLURM | {"RANK": "3", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none"}, 3),  # torchrun under srun
    ],
)
def test_the_rank_that_a_launcher_gave(monkeypatch, variables, rank):
    for name in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert rank_given() == rank


def test_the_rank_on_this_machine(monkeypatch):
    for name, value in (SLURM | {"SLURM_LOCALID": "0", "SLURM_JOB_NAME": "x"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert local_rank_given() == 0
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert local_rank_given() is None
