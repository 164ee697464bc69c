import numpy as np
import pytest

from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.predictions import Predictions


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
