"""Finished runs as training leaves them, without training: a store with known predictions."""

import json

import numpy as np
import yaml

from pipeline.config.defaults import flatten
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.evaluation.metrics import summary
from pipeline.models.classifier import NetworkSpec
from pipeline.models.saved import BEST_FACTS, BEST_WEIGHTS, NetworkFacts, load_network, read_facts
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.parquet import write_predictions
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.runs import tracked_run

CLASSES = ["auk", "bee eater", "crane"]


def predictions(split="val", *, pictures=60, classes=CLASSES, signal=1.5, seed=0, start=0):
    """Normal noise, the true class raised by `signal`; the labels follow from the picture's number."""
    chance = np.random.default_rng([seed, len(split)])
    labels = np.arange(start, start + pictures) % len(classes)
    logits = chance.normal(size=(pictures, len(classes))).astype(np.float32)
    logits[np.arange(pictures), labels] += signal
    builder = PredictionsBuilder(classes)
    builder.add([f"{split}/{number}.jpg" for number in range(start, start + pictures)], labels, logits)
    return builder.finish()


def nearly(made, more):
    """The same answers, but `more` of the wrong ones right."""
    logits = made.logits.copy()
    rows = np.flatnonzero(~made.correct)[:more]
    logits[rows, made.labels[rows]] += 100
    return Predictions(made.ids, made.labels, made.classes, logits)


def load_best(folder):
    """The network that a run's checkpoints hold, and its facts."""
    facts = read_facts(folder)
    return load_network(facts.spec, folder / BEST_WEIGHTS), facts


def config(**changes):
    """A flat config as a run's parameters hold it."""
    plain = {
        "seed": 0,
        "data": {"name": "birds", "image_size": 32, "split": {"seed": 0, "folds": None, "fold": 0}, "fraction": 1.0,
                 "bootstrap": None},
        "model": {"name": "torchvision/resnet18", "weights_file": None},
        "regime": {"name": "scratch"},
        "optimizer": {"name": "adamw", "lr": 0.001},
        "trainer": {"epochs": 2, "num_workers": 0},
    }  # fmt: skip
    return flatten(plain) | changes


def finished(
    *,
    experiment="birds",
    digest="d1",
    val=None,
    test=None,
    signal=1.5,
    seed=0,
    taxonomy=None,
    tags=None,
    **changes,
):
    """A finished run; gives its id. `changes` go into its config, with dots as `__`."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    params = config(**{"seed": seed} | changes)
    val = val or predictions("val", signal=signal, seed=seed)
    test = test or predictions("test", pictures=90, signal=signal, seed=seed)
    own = {"stage": "train", "data_digest": digest, "model": params["model.name"].rpartition("/")[2],
           "regime": params["regime.name"], "data": params["data.name"]} | (tags or {})  # fmt: skip
    with tracked_run(experiment, name=None, tags=own, params=params) as run:
        for split, made in (("val", val), ("test", test)):
            write_predictions(made, run.folder / "predictions" / f"{split}.parquet")
        facts = NetworkFacts(
            NetworkSpec(params["model.name"], len(val.classes), Preprocessing(32)),
            tuple(val.classes),
            taxonomy,
        )
        (run.folder / "checkpoints").mkdir()
        (run.folder / "checkpoints" / BEST_FACTS).write_text(json.dumps(facts.to_dict()))
        (run.folder / "config.yaml").write_text(yaml.safe_dump(params))
        for epoch in (1, 2):
            run.log_metrics(
                {"train/loss": 1 / epoch, "train/accuracy": 0.4 * epoch, "val/loss": 1.1 / epoch,
                 "val/accuracy": 0.3 * epoch, "images_per_second": 100.0 + epoch}, step=epoch,
            )  # fmt: skip
        run.log_metrics({f"best/val_{key}": value for key, value in summary(val).items()})
        run.log_metrics({f"test/{key}": value for key, value in summary(test).items()})
        run.log_metrics({"parameters": 1000.0 * len(params["model.name"]), "best/epoch": 2})
    return run.id
