import os
import subprocess
import sys

import pytest

from pipeline.cli.gpus import jobs_at_once, visible_gpus

TAKES = """
import os
from pipeline.cli.gpus import take_gpus
take_gpus(int(os.environ.get("DEVICES", 1)))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
input()
"""


@pytest.fixture
def job(tmp_path):
    """Start a job's process beside these GPUs; the GPU that it sees, and a way to end it."""
    started = []

    def _job(visible, devices=1):
        process = subprocess.Popen(
            [sys.executable, "-c", TAKES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(tmp_path), "DEVICES": str(devices)},
        )  # fmt: skip
        started.append(process)
        return process.stdout.readline().strip(), process

    yield _job
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_jobs_beside_each_other_have_a_gpu_each_and_one_that_ended_leaves_its_own(job):
    gpus = "GPU-a,MIG-b"
    (first, ended), (second, _), (third, _) = job(gpus), job(gpus), job(gpus)
    assert {first, second} == {"GPU-a", "MIG-b"}
    assert third == first  # more jobs than GPUs: evenly
    ended.kill()
    ended.wait()
    assert job(gpus)[0] == first
    assert set(job("0,1,2", devices=2)[0].split(",")) | {job("0,1,2")[0]} == {"0", "1", "2"}
    assert job("7")[0] == "7"  # the only one, or the one that a cluster gave


def test_as_many_jobs_as_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5")
    assert visible_gpus() == ["0", "2", "5"]
    assert (jobs_at_once(), jobs_at_once(2), jobs_at_once(4)) == (3, 1, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    assert jobs_at_once() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert jobs_at_once() == 2
