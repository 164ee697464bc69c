"""head=logistic beside scikit-learn's LogisticRegression, on features like those of a network.

    python bench/logistic_head.py --whole

How long the choice of the strength and the fit take, how long the fit alone, and how far the two are apart.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression as Solver

from pipeline.models.heads import logistic
from pipeline.models.heads.registry import HeadSpec


def features(pictures: int, width: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes about their means, with directions that differ in length as a network's do: a hundred to one."""
    chance = np.random.default_rng(0)
    labels = np.arange(pictures) % classes
    lengths = np.geomspace(1, 0.01, width)
    values = (chance.normal(size=(classes, width))[labels] + 3 * chance.normal(size=(pictures, width))) * lengths
    turned = values @ np.linalg.qr(chance.normal(size=(width, width)))[0]
    return torch.tensor(turned).float(), torch.tensor(labels)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Print how long something took, by the clock and on processors."""
    began, worked = perf_counter(), process_time()
    yield
    print(f"{what}: {perf_counter() - began:.1f} s, of processors {process_time() - worked:.1f} s", flush=True)


def main() -> None:
    """Print seconds of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2999)
    parser.add_argument("--features", type=int, default=3840)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--whole", action="store_true", help="scikit-learn's choice too, not one fit of it alone")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    warnings.simplefilter("ignore")
    x, y = features(asked.pictures, asked.features, asked.classes)
    with told("head=logistic, choice and fit"):
        HeadSpec("logistic").build(asked.features, asked.classes).fit(x, y)
    fixed = HeadSpec("logistic", {"C": 1.0}).build(asked.features, asked.classes)
    with told("head=logistic head.C=1"):
        fixed.fit(x, y)
    mean, scale = logistic.usual_scale(x)
    values = ((x.double() - mean) / scale).float().numpy()
    with told("scikit-learn, C=1"):
        theirs = Solver(C=1.0, max_iter=1000).fit(values, y)
    with torch.no_grad():
        apart = np.abs(theirs.predict_proba(values) - fixed(x).softmax(1).numpy()).max()
    print(f"largest difference of a probability: {apart:.1e}")
    if asked.whole:
        with told(f"scikit-learn, {len(logistic.STRENGTHS)} strengths of 3 folds"):
            for strength in logistic.STRENGTHS:
                for fold in range(3):
                    chosen = np.arange(len(y)) % 3 != fold
                    Solver(C=strength, max_iter=1000).fit(values[chosen], y[chosen])


if __name__ == "__main__":
    main()
