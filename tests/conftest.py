import os
import sys
from contextlib import contextmanager
from importlib import import_module

import mlflow
import numpy as np
import pytest
from hypothesis import settings

from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions

# Tests run beside each other, and so do the commands that they start: more threads would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any machine", deadline=None)  # a busy one takes its time
settings.load_profile("any machine")


# Files that take longest, first: the last one would keep one of two processes waiting for the other.
_LONG = {
    "test_training_in_a_browser.py",
    "test_main_job.py",
    "test_walkthrough.py",
    "test_faults.py",
    "test_earlier.py",
}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(autouse=True)
def _denormals_as_a_process_begins():
    """A run makes denormal numbers zero for the rest of its process, which in the tests is everybody's."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_users(tmp_path_factory):
    """What tests let the program keep (features, pictures, what is unreadable) is theirs, one place for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def _made_store(tmp_path_factory):
    """An empty store: making one takes MLflow some seconds, so tests take copies of it."""
    from pipeline.tracking.store import make_database

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    make_database(f"sqlite:///{file}")
    return file


@pytest.fixture
def store(_made_store, tmp_path, monkeypatch):
    """A store of the test's own in the current folder."""
    import shutil

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    shutil.copy(_made_store, tmp_path / "mlflow.db")
    from pipeline.tracking.store import Store

    Store().open()
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()


@pytest.fixture
def files_of_at_most():
    """`with files_of_at_most(1000):` no file of this process, or of one it starts, grows beyond 1,000 bytes.

    As where a disk is full. What pytest prints goes to a file too, so this must end before the test does.
    """
    import resource

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def random_predictions(
    pictures: int = 60, classes: int = 4, *, seed: int = 0, signal: float = 1.5, **builder
) -> Predictions:
    """Answers of a make-believe network: normal noise, the true class raised by `signal`."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, pictures)
    logits = chance.normal(size=(pictures, classes)).astype(np.float32)
    logits[np.arange(pictures), labels] += signal
    collector = PredictionsBuilder([f"species {code}" for code in range(classes)], **builder)
    for rows in np.array_split(np.arange(pictures), min(3, pictures)):
        collector.add([f"{row}.jpg" for row in rows], labels[rows], logits[rows])
    return collector.finish()


@pytest.fixture(scope="session")
def make_predictions():
    return random_predictions


@pytest.fixture
def typed(monkeypatch):
    """Type a command; its exit code."""

    def _typed(command, *arguments):
        monkeypatch.setattr(sys, "argv", [command, *arguments])
        try:
            import_module(f"pipeline.{command}").main()
        except SystemExit as end:
            return end.code
        return 0

    return _typed
