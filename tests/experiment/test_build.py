import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.experiment.build import memory_in_one_line, workers


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        MemoryError(),
    ],
)
def test_running_out_of_memory_names_the_batch_size_to_try(error):
    with (
        pytest.raises(BadInput, match=r"trainer\.batch_size=32: try trainer\.batch_size=16"),
        memory_in_one_line(32),
    ):
        raise error
    with pytest.raises(BadInput, match=r"try a smaller data\.image_size"), memory_in_one_line(1):
        raise error


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_has_not_so_much_memory_is_told_of_in_the_same_way():
    with pytest.raises(BadInput, match=r"try trainer\.batch_size=16"), memory_in_one_line(32):
        torch.empty(2**50, dtype=torch.uint8, device="cuda")


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes"), memory_in_one_line(32):
        raise RuntimeError("shapes do not match")


def test_workers(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert workers(3, in_memory=True) == 3
    assert workers(None, in_memory=True) == 0
    assert workers(None, in_memory=False) == 8
