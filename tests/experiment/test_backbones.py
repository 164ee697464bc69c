"""How backbones whose weights an earlier run or model keeps see pictures."""

from dataclasses import astuple

import pytest

from pipeline.common.errors import BadInput
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.experiment.backbones import Backbone
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.heads.registry import HeadSpec
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.models.sight import Part
from pipeline.serving.bundle import write_bundle

HOW = Preprocessing(40, "squash", "bicubic", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def kept(folder, *networks):
    """The file of weights of a run, and that of the model which was made of it."""
    spec = NetworkSpec.of([Part(name, HOW, {}) for name in networks], 2, HeadSpec())
    save_best(folder / "run", Classifier(spec), NetworkFacts(spec, ("auk", "coot")))
    write_bundle(folder / "served", {"one": folder / "run"})
    return folder / "run" / "best.safetensors", folder / "served" / "member0.safetensors"


def test_weights_of_a_run_or_a_model_see_pictures_as_they_did_there(tmp_path):
    for file in kept(tmp_path, "torchvision/squeezenet1_0"):
        found = Backbone("torchvision/squeezenet1_0", "DEFAULT", file).as_trained()
        assert astuple(found) == (HOW.mean, HOW.std, HOW.interpolation, HOW.image_size)
    copied = tmp_path / "member0.safetensors"  # which nothing is said of
    copied.write_bytes(file.read_bytes())
    assert Backbone("torchvision/squeezenet1_0", "DEFAULT", copied).as_trained().image_size == 224


def test_weights_of_several_networks_are_told_to_be_that(tmp_path):
    for file in kept(tmp_path, "torchvision/squeezenet1_0", "torchvision/squeezenet1_1"):
        with pytest.raises(BadInput, match=r"several networks joined \(squeezenet1_0\+squeezenet1_1\): leave it out"):
            Backbone("torchvision/squeezenet1_0", "DEFAULT", file).as_trained()
