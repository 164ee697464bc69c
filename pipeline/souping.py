"""A soup of runs: one network whose weights are the mean of theirs, and what it says of their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline import assembly
from pipeline.assembly import Prepared
from pipeline.errors import BadInput
from pipeline.own_pictures import own_pictures
from pipeline.scoring import split_answers
from pipeline.stored_config import finished_config

if TYPE_CHECKING:
    import torch
    from mlflow.entities import Run

    from pipeline.ensembles.report import Answers
    from pipeline.evaluation.predictions import Predictions
    from pipeline.models.classifier import Classifier
    from pipeline.training.checkpoints import NetworkFacts


def cook(members: Mapping[str, Run]) -> tuple[Classifier, NetworkFacts, Answers]:
    """The mean of the members' weights, its facts, and its answers for val and test, by one pass over the pictures.

    Batch-norm's running statistics are averaged with the rest, not measured anew: val tells whether that was
    good enough. The pictures are read as the first member's config says. BadInput where the members are not runs
    of one network, or their pictures are gone.
    """
    from pipeline.ensembles.report import Answers
    from pipeline.models.classifier import build_classifier
    from pipeline.tracking.finished import facts_of

    facts = {name: facts_of(run) for name, run in members.items()}
    first_name, first = next(iter(facts.items()))
    for name, one in facts.items():
        if one.spec != first.spec:
            raise BadInput(
                f"soup: {name} is not the network of {first_name}, or sees pictures in another way; "
                "a soup takes runs of one network"
            )
    network = build_classifier(first.spec)
    network.load_state_dict(_mean_weights(members))
    val, test = _answers(members[first_name], network.eval())
    return network, first, Answers(val, test if len(test) else None)


def _mean_weights(members: Mapping[str, Run]) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    from pipeline.ensembles.soup import soup
    from pipeline.tracking.finished import artifact_folder
    from pipeline.training.checkpoints import BEST_WEIGHTS

    files = {name: artifact_folder(run, "checkpoints") / BEST_WEIGHTS for name, run in members.items()}
    for name, file in files.items():
        if not file.is_file():
            raise BadInput(f"the weights of {name} are gone: there is no {file}")
    return soup({name: load_file(file) for name, file in files.items()})


def _answers(member: Run, network: Classifier) -> tuple[Predictions, Predictions]:
    from pipeline.tracking.finished import artifact_folder
    from pipeline.training.hardware import make_fabric, resolved

    config = finished_config(member)
    own = own_pictures(member, artifact_folder(member, ""), config.data)
    own.check_unchanged("soup", ("val", "test"))  # else its figures could not stand beside the members'
    fabric = make_fabric(config.trainer.accelerator, config.trainer.precision)
    prepared = Prepared(own.split, own.table, network, fabric, resolved(fabric))
    with assembly.memory_in_one_line(config.trainer.batch_size):
        return split_answers(config, prepared, "val"), split_answers(config, prepared, "test")
