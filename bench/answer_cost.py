"""What one served answer costs beside its network: with taxa and `unknown`, and with neither, by turns.

    python bench/answer_cost.py [CLASSES] [FEATURES] [ANSWERS]

Made-up scores and features, and a taxonomy of the shape of iNaturalist 2021's. Median milliseconds of the processor's
time; 10,000 classes of 1,280 features and 500 answers unless said.
"""

import sys
from time import process_time

import numpy as np
import torch
from evaluation_at_scale import lineage

from pipeline.ensembles.scoring import Said
from pipeline.evaluation.familiar import Familiar, Looks, Usual
from pipeline.evaluation.strangeness import Strangeness
from pipeline.serving.answers import Wanted, answers
from pipeline.serving.bundle import Bundle
from pipeline.serving.calibration import Calibration
from pipeline.serving.known import Known
from pipeline.serving.seen import seen_of


def main(classes: int, width: int, times: int) -> None:
    """A line for each kind of answer."""
    chance = np.random.default_rng(0)
    names = tuple(f"Genus species-{code:05d}" for code in range(classes))
    features = chance.gamma(2, size=(classes, width)).astype(np.float32)
    familiar = Familiar.of(features, np.arange(classes), classes)
    looks = Looks(np.zeros(20, np.float32), np.zeros((20, len(familiar.axes)), np.float32))
    known = Known(Strangeness((0.5, 0.2), (0.3, 0.1), ((5, 2.0),)), Usual(np.zeros(20, np.float32), looks), familiar)
    kin = lineage(list(names))
    told = {
        "label and probability": Bundle((), names, kin, None, Calibration(1.2)),
        "taxon as well": Bundle((), names, kin, None, Calibration(1.2, depths=((5, 0.6),))),
        "taxon and unknown": Bundle((), names, kin, None, Calibration(1.2, depths=((5, 0.6),)), known),
    }
    taken: dict[str, list[float]] = {name: [] for name in told}
    for number in range(times + 5):
        scores = torch.from_numpy(chance.normal(0, 2, (1, classes)).astype(np.float32))
        said = Said(scores, torch.from_numpy(features[number % classes][None]))
        for name, bundle in told.items():
            start = process_time()
            answers(bundle, seen_of(bundle, said), [""], Wanted())
            taken[name].append(1000 * (process_time() - start))
    for name, each in taken.items():
        low, middle, high = np.percentile(each[5:], (25, 50, 75))
        print(f"{name}: {middle:.2f} ms (half of them between {low:.2f} and {high:.2f})")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*([int(one) for one in sys.argv[1:]] or [10_000, 1_280, 500]))
