"""Registering: what is refused first, and what a failure leaves."""

import mlflow
import pytest
import stored
import torch
from hydra import compose, initialize_config_dir
from mlflow.exceptions import MlflowException

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.serving.bundle import write_bundle
from pipeline.tracking import registry
from pipeline.tracking.runs import local_folder

CLASSES = ("auk", "coot")


def promote(*overrides):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("promote", list(overrides)), "promote")


@pytest.mark.parametrize("alias", ["''", "'a b'", "latest", "LATEST", "v1", "V22", "a/b", "a@b", "x" * 256])
def test_an_alias_that_mlflow_refuses_is_refused_before_any_work(alias):
    with pytest.raises(BadInput, match=r"^alias=.*such as champion$"):
        promote(f"alias={alias}")


@pytest.mark.parametrize("alias", ["champion", "zwei_2", "v1-b", "3"])
def test_what_mlflow_takes_is_taken(alias, store):
    assert promote(f"alias={alias}").alias == alias
    store.create_registered_model("m")
    version = store.create_model_version("m", "file:///nowhere")
    store.set_registered_model_alias("m", alias, version.version)


@pytest.mark.parametrize("metric", ["test/accuracy", "test/log_loss", "gain/test_accuracy"])
def test_test_decides_nothing(metric):
    with pytest.raises(BadInput, match=f"^metric={metric}: test decides nothing"):
        promote(f"metric={metric}")


@pytest.fixture
def served(tmp_path):
    torch.manual_seed(0)
    network = Classifier(NetworkSpec("torchvision/squeezenet1_0", 2, Preprocessing(image_size=32)))
    save_best(tmp_path / "checkpoints", network, NetworkFacts(network.spec, CLASSES))
    write_bundle(tmp_path / "served", {"one": tmp_path / "checkpoints"})
    return tmp_path / "served"


def publish(folder, run, alias="champion", classes=CLASSES):
    return registry.publish(folder, run, {}, name="birds", alias=alias, classes=classes)


def left(store, run):
    models = store.search_logged_models([run.info.experiment_id])
    try:
        store.get_registered_model("birds")
    except MlflowException:
        return len(models), None
    return len(models), [one.version for one in store.search_model_versions("name = 'birds'")]


def test_a_failure_at_any_point_leaves_nothing_behind(store, served, monkeypatch, tmp_path):
    run = store.get_run(stored.finished())
    with pytest.raises(MlflowException):
        publish(served, run, alias="a b")  # the last of all that is done
    assert left(store, run) == (0, None)
    publish(served, run)
    files = sorted(path for path in tmp_path.rglob("*.safetensors"))
    assert left(store, run) == (1, [1])

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    for step in ("mlflow.pyfunc.log_model", "mlflow.register_model"):
        with monkeypatch.context() as patch:
            patch.setattr(step, interrupted)
            with pytest.raises(KeyboardInterrupt):
                publish(served, run)
        assert left(store, run) == (1, [1])
    with pytest.raises(MlflowException):
        publish(served, run, alias="latest")
    with pytest.raises(BadInput, match="answers with other classes, such as"):
        publish(served, run, classes=("coot", "owl"))
    assert left(store, run) == (1, [1])
    assert sorted(path for path in tmp_path.rglob("*.safetensors")) == files
    assert store.get_model_version_by_alias("birds", "champion").version == 1


def test_what_a_killed_process_had_begun_to_publish_goes_with_the_next(store, served):
    run = store.get_run(stored.finished())
    begun = mlflow.initialize_logged_model(
        "served", source_run_id=run.info.run_id, experiment_id=run.info.experiment_id, model_type="classifier"
    )
    files = local_folder(begun.artifact_location) / "weights"
    files.parent.mkdir(parents=True)
    files.write_text("half")
    publish(served, run)
    assert left(store, run) == (1, [1])
    assert not files.parent.exists()


def test_a_version_may_add_classes_and_says_which(store, served, tmp_path):
    run = store.get_run(stored.finished())
    publish(served, run)
    grown = ("auk", "coot", "dunlin")
    network = Classifier(NetworkSpec("torchvision/squeezenet1_0", 3, Preprocessing(image_size=32)))
    save_best(tmp_path / "grown", network, NetworkFacts(network.spec, grown))
    write_bundle(tmp_path / "new" / "served", {"one": tmp_path / "grown"})
    made = publish(tmp_path / "new" / "served", run, classes=grown)
    version = store.get_model_version("birds", made.version)
    assert version.tags["classes_added"] == "dunlin"
    assert version.tags["adds_to"] == "1"
    assert version.description.startswith("Adds 1 class to version 1: dunlin.")
    assert registry.classes_of("models:/birds@champion") == list(grown)
    with pytest.raises(BadInput, match=r"such as dunlin: a version may add classes, not lose any"):
        publish(served, run)
    with pytest.raises(BadInput, match=r"weights_file=models:/birds@champion: its class coot is missing \(is it Coots"):
        registry.check_renamed("models:/birds@champion", ["auk", "Coots", "dunlin"])
    registry.check_renamed("models:/birds@champion", ["auk", "whelk"])  # another task


def test_a_model_that_is_not_there_names_those_that_are(store):
    with pytest.raises(BadInput, match=r"model=models:/a@b: .*; python -m pipeline\.promote makes one"):
        registry.fetch_model("models:/a@b")
    store.create_registered_model("birds")
    store.create_registered_model("moths")
    store.create_model_version("moths", "file:///nowhere")
    version = store.create_model_version("birds", "file:///nowhere")
    store.set_registered_model_alias("birds", "champion", version.version)
    said = r"model\.weights_file=models:/a@b: .*; there are models:/birds@champion, models:/moths/1$"
    with pytest.raises(BadInput, match=said):
        registry.fetch_model("models:/a@b", "model.weights_file")
