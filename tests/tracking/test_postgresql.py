"""Sweeps that begin at the same instant in one empty PostgreSQL database: each job is done once, nothing is lost."""

import os
import subprocess
import sys

from mlflow import MlflowClient
from postgresql import database

SWEEP = (
    "-m", "seed=0,1,2", "model=squeezenet", "regime=scratch", "data.image_size=32", "data.per_class=8",
    "trainer.epochs=2", "trainer.precision=fp32", "trainer.threads=1",
)  # fmt: skip


def test_three_terminals_share_out_a_sweep(tmp_path):
    with database(tmp_path) as address:
        typed = [sys.executable, "-m", "pipeline.train", *SWEEP]
        variables = os.environ | {"MLFLOW_TRACKING_URI": address}
        logs = [(tmp_path / f"{number}.log").open("w+") for number in range(3)]
        begun = [
            subprocess.Popen(typed, cwd=tmp_path, env=variables, stdout=log, stderr=log, text=True) for log in logs
        ]
        codes = [process.wait() for process in begun]
        said = []
        for log in logs:
            log.seek(0)
            said.append(log.read())
            log.close()
        assert codes == [0, 0, 0], said
        client = MlflowClient(address)
        runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
        jobs = [run for run in runs if run.data.tags["stage"] == "train"]
        assert sorted(run.info.run_name for run in jobs) == ["seed=0", "seed=1", "seed=2"]
        assert {run.info.status for run in runs} == {"FINISHED"}
        for job in jobs:
            assert [point.step for point in client.get_metric_history(job.info.run_id, "val/loss")] == [1, 2]
