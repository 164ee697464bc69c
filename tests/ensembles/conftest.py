import numpy as np
import pytest

from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions


def random_members(
    signals=(1.5, 1.5, 1.5), pictures: int = 200, classes: int = 5, *, seed: int = 0, **builder
) -> dict[str, Predictions]:
    """Make-believe networks that err independently, each as good as its signal, on the same pictures."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, pictures)
    members = {}
    for number, signal in enumerate(signals):
        logits = chance.normal(size=(pictures, classes)).astype(np.float32)
        logits[np.arange(pictures), labels] += signal
        collector = PredictionsBuilder([f"species {code}" for code in range(classes)], **builder)
        collector.add([f"{row}.jpg" for row in range(pictures)], labels, logits)
        members[f"run {number}"] = collector.finish()
    return members


@pytest.fixture(scope="session")
def make_members():
    return random_members
