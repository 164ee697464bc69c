import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from pipeline.data.digest import data_digest
from pipeline.data.table import PictureTable
from pipeline.models.saved import BEST_WEIGHTS, epoch_file
from pipeline.tracking.logged_models import CHECKPOINT
from pipeline.tracking.runs import dataset_of, tracked_run

FIGURES = {"best/val_accuracy": 0.7, "test/accuracy": 0.6}
KEPT = {1: epoch_file(1), 3: BEST_WEIGHTS}


@pytest.fixture(scope="module")
def table():
    rows = pd.DataFrame({"path": ["a", "b"], "label": ["auk", "crane"], "split": ["train", "val"]})
    return PictureTable("birds", rows.astype({"label": "category", "split": "category"}), pixels=np.zeros((2, 8, 8, 3)))


def trained(table, *, kept=KEPT, add=0.0, resume=None):
    """A run of three epochs that ends with its figures; `resume`: goes on as one that was killed at the very end."""
    with tracked_run(
        "birds", name=None, tags={"model": "resnet50.a1", "data_digest": data_digest(table)}, params={}, resume=resume
    ) as run:
        if not resume:
            run.log_inputs(dataset_of(table))
            for epoch in (1, 2, 3):
                run.log_metrics({"val/accuracy": epoch / 10, "lr": 0.1}, step=epoch)
        abouts = run.log_weights(kept, table.name, again=bool(resume))
        run.log_metrics({name: value + add for name, value in FIGURES.items()}, about=abouts.get(3))
    return run.id


def ranked(by="best/val_accuracy", **options):
    order = [{"field_name": f"metrics.{by}", "ascending": False}]
    found = mlflow.search_logged_models(
        [mlflow.get_experiment_by_name("birds").experiment_id], order_by=order, output_format="list", **options
    )
    return [(model.source_run_id, model.name) for model in found], found


def test_kept_weights_rank_by_their_figures_of_the_runs_pictures(store, table):
    worse, better = trained(table), trained(table, add=0.1)
    best, early = "epoch 3 (best) of resnet50-a1", "epoch 1 of resnet50-a1"
    names, found = ranked()
    assert names[:2] == [(better, best), (worse, best)]
    assert {name for _, name in ranked("val/accuracy")[0][2:]} == {early}
    assert ranked(filter_string="metrics.`best/val_accuracy` > 0.75")[0] == [(better, best)]
    figures = {point.key: point for point in found[0].metrics}
    assert {name: point.value for name, point in figures.items()} == {
        "val/accuracy": 0.3, "best/val_accuracy": pytest.approx(0.8), "test/accuracy": pytest.approx(0.7),
    }  # fmt: skip
    assert {(point.dataset_name, point.dataset_digest) for point in figures.values()} == {("birds", data_digest(table))}
    assert {(model.status.name, model.params["epoch"]) for model in found} == {("READY", "1"), ("READY", "3")}
    assert sorted(output.step for output in store.get_run(better).outputs.model_outputs) == [1, 3]


def test_the_files_stay_the_runs_and_its_metrics_what_they_were(store, table):
    run = store.get_run(trained(table))
    assert run.data.metrics == {"val/accuracy": 0.3, "lr": 0.1, **FIGURES}
    for name, values in (("val/accuracy", [0.1, 0.2, 0.3]), ("test/accuracy", [0.6])):
        assert [point.value for point in store.get_metric_history(run.info.run_id, name)] == values
    found = {model.tags["weights"] for model in ranked()[1]}
    assert found == {f"runs:/{run.info.run_id}/checkpoints/{file}" for file in KEPT.values()}
    assert not any(store.list_logged_model_artifacts(model.model_id) for model in ranked()[1])


def test_a_run_that_goes_on_has_each_once(store, table):
    run = trained(table)
    left = store.create_logged_model(  # by a process that was killed at that moment
        store.get_run(run).info.experiment_id, "epoch 2 of resnet50-a1", source_run_id=run, model_type=CHECKPOINT
    )
    before = {model.model_id for model in ranked()[1]} - {left.model_id}
    trained(table, resume=run)
    assert {model.model_id for model in ranked()[1]} == before
    assert len(store.get_run(run).outputs.model_outputs) == 2
    trained(table, kept={3: epoch_file(3), 2: BEST_WEIGHTS}, resume=run)
    assert sorted(name for _, name in ranked()[0]) == ["epoch 2 (best) of resnet50-a1", "epoch 3 of resnet50-a1"]


def test_a_store_that_takes_no_models_takes_the_metrics(store, table, monkeypatch, caplog):
    def refused(*_, **__):
        raise MlflowException("no such address", RESOURCE_DOES_NOT_EXIST)

    monkeypatch.setattr(mlflow.MlflowClient, "create_logged_model", refused)
    run = trained(table)
    assert "MLflow did not take the run's weights (no such address)" in caplog.text
    assert store.get_run(run).data.metrics == {"val/accuracy": 0.3, "lr": 0.1, **FIGURES}


def test_deleting_works(store, table, tmp_path):
    from click.testing import CliRunner
    from mlflow.cli import gc

    kept, gone = trained(table), trained(table)
    store.delete_run(gone)
    for model in ranked(filter_string=f"source_run_id = '{gone}'")[1]:
        store.delete_logged_model(model.model_id)
    ran = CliRunner().invoke(gc, ["--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.count("permanently deleted") == 3
    assert {run for run, _ in ranked()[0]} == {kept}
