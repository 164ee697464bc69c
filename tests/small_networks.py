"""Classifiers as small as timm has backbones, their weights left to chance."""

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
