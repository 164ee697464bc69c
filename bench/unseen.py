"""What is told for unknown: species held out, and pictures of other things, by the rule of evaluation/strangeness.py.

    python bench/unseen.py FEATURES.parquet FAR.parquet [DRAWS] [FIRST]

Both files are of python -m pipeline.embed, by the same network: of a set with its splits, and of pictures of something
else. A draw holds a fifth of the classes out, fits the logistic head to the training pictures of the others and
calibrates on their val. `near` are test pictures of the classes held out, against test pictures of the others; `held`
are their training and val pictures, against val of the others: by these, and no test picture, the rule was chosen.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.evaluation.familiar import Familiar
from pipeline.evaluation.strangeness import softened, strangeness_on
from pipeline.evaluation.temperature import fit_temperature
from pipeline.evaluation.unknown import auroc
from pipeline.models.heads.logistic import LogisticRegression
from pipeline.predictions.predictions import Predictions


def main(known: Path, far: Path, draws: int, first: int = 0) -> None:
    """A line a figure: its mean and spread."""
    table, strangers = pd.read_parquet(known), np.stack(pd.read_parquet(far)["features"]).astype(np.float32)
    features, split = np.stack(table["features"]).astype(np.float32), table["split"].to_numpy(dtype=str)
    labels, names = pd.factorize(table["label"], sort=True)
    found = [one_draw(features, labels, split, len(names), strangers, draw) for draw in range(first, first + draws)]
    whole = pd.DataFrame([figures for figures, _ in found])
    for name in whole:
        each = " ".join(f"{value:.3f}" for value in whole[name])
        print(f"{name}: {whole[name].mean():.4f} (sd {whole[name].std():.4f} over {draws} draws: {each})")
    print(f"pictures of a draw, of the first: {found[0][1]}")


def one_draw(
    features: np.ndarray, labels: np.ndarray, split: np.ndarray, classes: int, strangers: np.ndarray, draw: int
) -> tuple[dict[str, float], str]:
    """Figures of one draw of classes, and of how many pictures."""
    kept = np.sort(np.random.default_rng(draw).permutation(classes)[round(classes / 5) :])
    inside, codes = np.isin(labels, kept), np.searchsorted(kept, labels)
    train = inside & (split == "train")
    head = LogisticRegression(features.shape[1], len(kept))
    head.settle(torch.from_numpy(features[train]), torch.from_numpy(codes[train]))
    head.fit(torch.from_numpy(features[train]), torch.from_numpy(codes[train]))
    familiar = Familiar.of(features[train], codes[train], len(kept))

    def logits_of(values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(head(torch.from_numpy(values)))

    def said(values: np.ndarray, truth: np.ndarray | None = None) -> Predictions:
        logits = logits_of(values)
        truth = np.zeros(len(values), np.int64) if truth is None else truth
        return Predictions(np.arange(len(values)).astype(str), truth, [str(code) for code in kept], logits)

    def away(values: np.ndarray) -> np.ndarray:
        return familiar.looks(values, logits_of(values)).distance

    val = inside & (split == "val")
    temperature = fit_temperature(said(features[val], codes[val]))
    rule = strangeness_on(said(features[val]).at_temperature(temperature), away(features[val]))

    def strange(values: np.ndarray, *, by: str = "both") -> np.ndarray:
        confidence, distance = softened(said(values).at_temperature(temperature)), away(values)
        return {"both": rule.of(confidence, distance), "softmax": -confidence, "distance": distance}[by]

    test = split == "test"
    parts = {"known": features[inside & test], "near": features[~inside & test], "far": strangers}
    share, threshold = rule.sends_away(None) or (np.nan, np.nan)
    scores = {name: strange(values) for name, values in parts.items()}
    figures = {
        f"{name} AUROC by {by}": auroc(strange(parts["known"], by=by), strange(parts[name], by=by))
        for name in ("near", "far")
        for by in ("both", "softmax", "distance")
    }
    figures["held AUROC"] = auroc(strange(features[val]), strange(features[~inside & ~test]))
    figures[f"known sent away, {share:.0%} promised"] = (scores["known"] > threshold).mean()
    figures |= {f"{name} accepted": (scores[name] <= threshold).mean() for name in ("near", "far")}
    at = np.quantile(scores["known"], 0.95)
    figures |= {f"{name} accepted, 95% of test known kept": (scores[name] <= at).mean() for name in ("near", "far")}
    return figures, f"{val.sum()} val, " + ", ".join(f"{len(some):,} {name}" for name, some in parts.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *(int(one) for one in (sys.argv[3:] or ["5"])))
