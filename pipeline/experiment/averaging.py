"""A soup of runs: one network whose weights are the mean of theirs, and what it says of their pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mlflow.entities import Run
from safetensors.torch import load_file

from pipeline.common.errors import BadInput
from pipeline.ensembles.report import Answers
from pipeline.ensembles.soup import soup
from pipeline.experiment import build
from pipeline.experiment.build import Prepared
from pipeline.experiment.inference import split_answers
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import finished_config
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.saved import BEFORE_REFIT, BEST_WEIGHTS, NetworkFacts
from pipeline.predictions.predictions import Predictions
from pipeline.tracking.finished import artifact_folder, facts_of
from pipeline.training.hardware import make_fabric, resolved


def cook(members: Mapping[str, Run]) -> tuple[Classifier, NetworkFacts, Answers]:
    """The mean of the members' weights, its facts, and its answers for val and test, by one pass over the pictures.

    Batch-norm's running statistics are averaged with the rest, not measured anew: val tells whether that was
    good enough. The pictures are read as the first member's config says. BadInput where the members are not runs
    of one network, or their pictures are gone.
    """
    facts = {name: facts_of(run) for name, run in members.items()}
    first_name, first = next(iter(facts.items()))
    for name, one in facts.items():
        if one.spec != first.spec:
            raise BadInput(
                f"soup: {name} is not the network of {first_name}, or sees pictures in another way; "
                "a soup takes runs of one network"
            )
    kind = first.spec.head.kind
    if issubclass(kind, FittedHead) and not kind.averages:
        raise BadInput(f"soup: the mean of several head={first.spec.head.name} is none; let the runs vote")
    network = build_classifier(first.spec)
    network.load_state_dict(_mean_weights(members))
    val, test = _answers(members[first_name], network.eval())
    return network, first, Answers(val, test if len(test) else None)


def _mean_weights(members: Mapping[str, Run]) -> dict[str, torch.Tensor]:
    files = {name: artifact_folder(run, "checkpoints") / BEST_WEIGHTS for name, run in members.items()}
    for name, file in files.items():
        if file.with_name(BEFORE_REFIT).is_file():
            raise BadInput(f"soup: {name} was fitted on val too, which could not judge the mean; let the runs vote")
        if not file.is_file():
            raise BadInput(f"the weights of {name} are gone: there is no {file}")
    return soup({name: load_file(file) for name, file in files.items()})


def _answers(member: Run, network: Classifier) -> tuple[Predictions, Predictions]:
    config = finished_config(member)
    own = own_pictures(member, artifact_folder(member, ""), config.data)
    own.check_unchanged("soup", ("val", "test"))  # else its figures could not stand beside the members'
    fabric = make_fabric(config.trainer.accelerator, config.trainer.precision)
    prepared = Prepared(own.split, own.table, network, fabric, resolved(fabric))
    with build.memory_in_one_line(config.trainer.batch_size):
        return split_answers(config, prepared, "val"), split_answers(config, prepared, "test")
