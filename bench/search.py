"""TPE against random search with the same number of trials, and by how much the best of them flatters itself.

    python bench/search.py --birds .../cub_200_2011_subset --weights .../mobilenet_v2_imagenet.pth [--seeds 5]

Each trial is a linear head on the kept features of frozen mobilenetv2 (100 classes), trained as `pipeline.tune` has it
trained but for the runs in MLflow, so that hundreds of them take minutes: AdamW, cosine, 5 epochs, val after the last.
Searched are the learning rate, weight decay, label smoothing and the batch. Each search's best is trained with three
fresh seeds more, and asked of test once.
"""

import argparse

import numpy as np
import optuna
import torch
from scipy import stats
from torch import nn

from pipeline.cli.composed import composed
from pipeline.experiment.stages import feature_batches, stages
from pipeline.experiment.training import prepare
from pipeline.tracking.study import sampler

EPOCHS, TRIALS, FRESH = 5, 30, 3
BATCHES = (64, 128)


def read(birds, weights):
    """Features and labels of each split."""
    config = composed("train", [
        "data=cub200", f"data.root={birds}", "model=mobilenetv2", f"model.weights_file={weights}", "regime=frozen",
        "augmentation=none",
    ])  # fmt: skip
    prepared = prepare(config)
    assert len(stages(config)) == 1
    found = {}
    for split in ("train", "val", "test"):
        batches = list(feature_batches(config, prepared, split))
        found[split] = (torch.cat([one.inputs.features for one in batches]), torch.cat([one.labels for one in batches]))
    return found


def trained(splits, settings, seed):
    """The head's accuracy on val and on test."""
    torch.manual_seed(seed)
    features, labels = splits["train"]
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    loss = nn.CrossEntropyLoss(label_smoothing=settings["smoothing"])
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings["lr"], weight_decay=settings["decay"])
    steps = EPOCHS * -(-len(labels) // settings["batch"])
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(settings["batch"]):
            optimizer.zero_grad()
            loss(head(features[rows]), labels[rows]).backward()
            optimizer.step()
            cosine.step()
    with torch.inference_mode():
        return [(head(x).argmax(1) == y).float().mean().item() for x, y in (splits["val"], splits["test"])]


def searched(splits, kind, seed):
    """Val of the best trial so far after each, then fresh seeds' val and test of the best."""
    study = optuna.create_study(direction="maximize")
    for number in range(TRIALS):
        trial = study.ask()
        study.sampler = sampler(kind, seed, number)
        settings = {
            "lr": trial.suggest_float("lr", 1e-4, 1, log=True),
            "decay": trial.suggest_float("decay", 1e-6, 1, log=True),
            "smoothing": trial.suggest_float("smoothing", 0, 0.3), "batch": trial.suggest_categorical("batch", BATCHES),
        }  # fmt: skip
        study.tell(trial, trained(splits, settings, 0)[0])
    values = np.maximum.accumulate([one.value for one in study.trials])
    fresh = np.array([trained(splits, study.best_params, 1 + one) for one in range(FRESH)])
    return values, fresh


def interval(values):
    """The mean, and Student's 95 % interval of it."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.4f} [{np.mean(values) - half:.4f}, {np.mean(values) + half:.4f}]"


def main():
    """A line a sampler, then what both came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--birds", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    splits = read(given.birds, given.weights)
    best, flattered = {}, []
    for kind in ("random", "tpe"):
        found = []
        for seed in range(given.seeds):
            found.append(searched(splits, kind, seed))
            values, fresh = found[-1]
            print(
                kind,
                seed,
                f"best {values[-1]:.4f} after 10: {values[9]:.4f}",
                "fresh",
                fresh.round(4).tolist(),
                flush=True,
            )
        best[kind] = np.array([values[-1] for values, _ in found])
        print(kind, "best val of", TRIALS, interval(best[kind]), "after 10", interval([v[9] for v, _ in found]))
        print(kind, "fresh seeds: val", interval([f[:, 0].mean() for _, f in found]),
              "test", interval([f[:, 1].mean() for _, f in found]))  # fmt: skip
        flattered += [values[-1] - fresh[:, 0].mean() for values, fresh in found]
    print("tpe over random:", interval(best["tpe"] - best["random"]), "(in pairs by seed)")
    print("the best trial over fresh seeds of its settings:", interval(flattered), "of", len(flattered), "searches")


if __name__ == "__main__":
    main()
