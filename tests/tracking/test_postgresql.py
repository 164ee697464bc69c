"""PostgreSQL as the store: what begins at the same instant is done once, and what comes while it is away arrives."""

import os
import subprocess
import sys
from time import sleep

from mlflow import MlflowClient
from postgresql import database

TINY = (
    "model=squeezenet", "regime=scratch", "data.image_size=32", "data.per_class=8", "trainer.precision=fp32",
    "trainer.threads=1",
)  # fmt: skip


def test_two_terminals_share_out_a_sweep(tmp_path):
    with database(tmp_path) as server:
        typed = [sys.executable, "-m", "pipeline.train", "-m", "seed=0,1,2", *TINY, "trainer.epochs=2"]
        variables = os.environ | {"MLFLOW_TRACKING_URI": server.address}
        logs = [(tmp_path / f"{number}.log").open("w+") for number in range(2)]
        begun = [
            subprocess.Popen(typed, cwd=tmp_path, env=variables, stdout=log, stderr=log, text=True) for log in logs
        ]
        codes = [process.wait() for process in begun]
        said = []
        for log in logs:
            log.seek(0)
            said.append(log.read())
            log.close()
        assert codes == [0, 0], said
        client = MlflowClient(server.address)
        runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
        jobs = [run for run in runs if run.data.tags["stage"] == "train"]
        assert sorted(run.info.run_name for run in jobs) == ["seed=0", "seed=1", "seed=2"]
        assert {run.info.status for run in runs} == {"FINISHED"}
        for job in jobs:
            assert [point.step for point in client.get_metric_history(job.info.run_id, "val/loss")] == [1, 2]


def test_epochs_that_pass_while_the_database_is_stopped_arrive_once(tmp_path):
    said = tmp_path / "said.log"
    with database(tmp_path) as server, said.open("w") as log:
        typed = [sys.executable, "-m", "pipeline.train", *TINY, "trainer.epochs=12"]
        variables = os.environ | {"MLFLOW_TRACKING_URI": server.address}
        training = subprocess.Popen(typed, cwd=tmp_path, env=variables, stdout=log, stderr=log)
        wait_for(said, "epoch   2", training)
        server.stop()
        wait_for(said, "epoch   6", training)
        server.start()
        assert training.wait() == 0, said.read_text()
        assert "Traceback" not in said.read_text()
        subprocess.run([sys.executable, "-m", "pipeline.sync"], cwd=tmp_path, env=variables, check=True)
        client = MlflowClient(server.address)
        (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
        assert run.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")]
        assert steps == list(range(1, 13))


def wait_for(said, words, process):
    """Until a process has said something."""
    while words not in said.read_text():
        assert process.poll() is None, said.read_text()
        sleep(0.05)
