import os
import signal
import subprocess
import sys
import time

PARENT = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(worker.pid, flush=True)
worker.wait()
"""
WORKER = """
import time
from pipeline.cli import workers
workers._EVERY = 0.05
with workers.at_work():
    time.sleep(1.5)
    open("done", "w").close()
time.sleep(600)  # as joblib's process waits for more
"""


def test_who_worked_for_a_command_that_was_killed_ends_its_job_and_then_itself(tmp_path):
    code = [sys.executable, "-c", PARENT, WORKER]
    with subprocess.Popen(code, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        time.sleep(0.7)
        parent.kill()
    try:
        for _ in range(200):
            os.kill(worker, 0)
            time.sleep(0.05)
    except ProcessLookupError:
        assert (tmp_path / "done").exists()
    else:
        os.kill(worker, signal.SIGKILL)
        raise AssertionError("it still waits")
