"""What logging an epoch costs a training: its server at once, slow, hanging; or a database here.

    python bench/journal.py --epochs 20 --slow 2

Ten metrics an epoch, five epochs a second, a real MLflow server behind a proxy. Prints the milliseconds that training
waits for an epoch's metrics (mean, 95 % interval of it, most), and the seconds that the end of the run takes.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter, sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mlflow_server import Proxy, served

from pipeline.tracking.runs import tracked_run
from pipeline.tracking.store import Store, make_database

METRICS = {f"metric {number}": float(number) for number in range(10)}


def measure(name: str, epochs: int) -> None:
    """Log a run of so many epochs to the store that the environment names."""
    with tracked_run("bench", name=None, tags={}, params={}) as run:
        waited = []
        for epoch in range(epochs):
            began = perf_counter()
            run.log_metrics(METRICS, step=epoch)
            waited.append(1000 * (perf_counter() - began))
            sleep(0.2)
        began = perf_counter()
    half = 1.96 * stdev(waited) / epochs**0.5
    middle, arrived = mean(waited), "arrived" if run.arrived else "waits in the journal"
    print(f"{name}: {middle:.1f} ms [{middle - half:.1f}, {middle + half:.1f}], most {max(waited):.1f}; "
          f"end {perf_counter() - began:.1f} s, {arrived}", flush=True)  # fmt: skip


def main() -> None:
    """Measure all four, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--slow", type=float, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = Path(folder) / "mlflow.db"
        make_database(f"sqlite:///{made}")
        (Path(folder) / "server").mkdir()
        with served(Path(folder) / "server", made) as port:
            proxy = Proxy(port)
            os.environ["MLFLOW_TRACKING_URI"] = proxy.uri
            Store().open()
            measure("a server that answers at once", given.epochs)
            proxy.slow = given.slow
            measure(f"one that answers after {given.slow:g} s", given.epochs)
            proxy.slow, proxy.but, proxy.state = 0, 8, "hanging"
            measure("one that hangs", given.epochs)
            proxy.close()
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{made}"
        Store().open()
        measure("a database here", given.epochs)


if __name__ == "__main__":
    main()
