"""Classifiers as small as timm has backbones, their weights left to chance."""

import pandas as pd
import torch

from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import NetworkSpec, build_classifier
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.sight import Part

# A frozen one on three digits, for heads that are fitted to its features.
SMALL = (
    "data=digits", "data.classes=3", "model=squeezenet", "regime=frozen", "trainer.accelerator=cpu",
    "trainer.precision=fp32", "trainer.batch_size=24", "trainer.limit_batches=2", "trainer.num_workers=0",
)  # fmt: skip


def network(*names, side=64, fit="squash", head="linear", **options):
    torch.manual_seed(0)
    parts = [Part(name, Preprocessing(side, fit)) for name in names]
    return build_classifier(NetworkSpec.of(parts, 3, HeadSpec(head, options))).eval()


SIGNS = pd.DataFrame([[1, 0, 0.2], [0, 0.9, 1], [0.1, 0, 1]], columns=["red_wing", "has_bill::dagger", "crest"])


def of_attributes(known=SIGNS, name="timm/test_resnet", side=64, seed=0, **options):
    """One whose three classes follow from the attributes that are `known` of them, in a way that is left to chance."""
    torch.manual_seed(seed)
    head = HeadSpec("concepts", {"attributes": known.columns.tolist(), **options})
    made = build_classifier(NetworkSpec.of([Part(name, Preprocessing(side))], 3, head)).eval()
    made.head.meet_attributes(known)
    made.head.mean.copy_(torch.tensor(known.mean().to_numpy()))
    made.head.scale.copy_(torch.tensor(known.std().to_numpy()))
    torch.nn.init.normal_(made.head.weight, std=0.2)
    return made
