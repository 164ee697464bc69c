"""How many of each species there are, where they are as frequent as nobody knows: counted, and corrected.

    python bench/counts.py PREDICTIONS_FOLDER [DRAWS]

A folder of a run's `predictions/`. val gives the temperature and the shares of training; of test, folders are drawn
whose species have shares of a Dirichlet law. The error is the mean over species of what their share is off. `best`
knows the law's shares: what the network's answers leave open to anybody.
"""

import sys
from pathlib import Path

import numpy as np

from pipeline.evaluation.counting import counts, kept, shares
from pipeline.predictions.parquet import read_predictions
from pipeline.serving.calibrating import calibrated_on


def main(folder: Path, draws: int) -> None:
    """A line for each law and size of folder; last, how often the intervals hold the number that is there."""
    val, test = (read_predictions(folder / f"{split}.parquet") for split in ("val", "test"))
    calibration = calibrated_on(val)
    prior, size = np.array(calibration.shares), len(test.classes)
    probabilities = test.at_temperature(calibration.temperature).probabilities().astype(float)
    of_class = [np.flatnonzero(test.labels == code) for code in range(size)]
    for law, pictures in ((1.0, 1000), (0.1, 1000), (1.0, 5000), (0.1, 5000), (1.0, 200), (0.1, 200)):
        chance, off, held = np.random.default_rng(0), np.empty((draws, 3)), []
        for draw in range(draws):
            frequent = chance.dirichlet(np.full(size, law))
            labels = chance.choice(size, pictures, p=frequent)
            rows = np.array([chance.choice(of_class[label]) for label in labels])
            true = np.bincount(labels, minlength=size) / pictures
            here = probabilities[rows]
            plain = np.bincount(here.argmax(1), minlength=size) / pictures
            known = here * (frequent / prior)
            guesses = plain, shares(kept(here), prior), (known / known.sum(1, keepdims=True)).mean(0)
            off[draw] = [np.abs(guess - true).mean() for guess in guesses]
            if draw < 20 and pictures == 1000:
                table = counts(kept(here), prior, test.classes).set_index("label").reindex(test.classes).fillna(0)
                there = true * pictures
                held.append(((table["low"] - 0.5 <= there) & (there <= table["high"] + 0.5)).mean())
        mean, error = off.mean(0), off.std(0) / draws**0.5
        ratio = off[:, 1].sum() / off[:, 0].sum()
        print(
            f"Dirichlet {law:g}, {pictures:,} pictures: counted {mean[0]:.5f} ({error[0]:.5f}), "
            f"corrected {mean[1]:.5f} ({error[1]:.5f}), best {mean[2]:.5f}; corrected is {ratio:.2f} of counted"
            + (f"; 95 % intervals hold {np.mean(held):.1%}" if held else ""),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
