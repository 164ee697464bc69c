"""A run whose server goes away: it goes on, and everything arrives, in order, once."""

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.names import PARENT_VARIABLE
from pipeline.data.table import PictureTable
from pipeline.models.saved import BEST_WEIGHTS
from pipeline.tracking import outbox, sweeps
from pipeline.tracking.places import unsent_folder
from pipeline.tracking.runs import TrackedRun, dataset_of, tracked_run
from pipeline.tracking.selection import members
from pipeline.tracking.sending import check_room, send_what_waits
from pipeline.tracking.store import Store, experiment_id

TAGS = {"stage": "train", "model": "resnet18", "data_digest": "2-abc"}
FILES = ["checkpoints/best.safetensors", "config.yaml"]


@pytest.fixture(scope="module")
def table():
    rows = pd.DataFrame({"path": ["a", "b"], "label": ["auk", "crane"], "split": ["train", "val"]})
    return PictureTable("birds", rows.astype({"label": "category", "split": "category"}), pixels=np.zeros((2, 8, 8, 3)))


def begin(**options):
    return tracked_run("birds", **({"name": "one", "tags": TAGS, "params": {"seed": 0}} | options))


def train(run, table, after_first=lambda: None, epochs=3):
    """What a training tells, as soon as it can."""
    run.log_inputs(dataset_of(table))
    for epoch in range(1, epochs + 1):
        run.log_metrics({"val/accuracy": epoch / 10}, step=epoch)
        if epoch == 1:
            run._out.close()  # the first epoch is there
            after_first()
    (run.folder / "checkpoints").mkdir()
    for file in FILES:
        (run.folder / file).write_text(file)
    abouts = run.log_weights({3: BEST_WEIGHTS}, "birds")
    run.log_metrics({"test/accuracy": 0.7}, about=abouts[3])
    run.set_tags({"verdict": "sound"})


def check_whole(client, run_id):
    """Everything is there, and once."""
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "val/accuracy")] == [
        (1, 0.1), (2, 0.2), (3, 0.3),
    ]  # fmt: skip
    assert run.data.params == {"seed": "0"}
    assert run.data.tags["verdict"] == "sound"
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["birds"]
    found = [*client.list_artifacts(run_id), *client.list_artifacts(run_id, "checkpoints")]
    assert sorted(file.path for file in found if not file.is_dir) == FILES
    [model] = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    assert [(point.key, point.value, point.dataset_name) for point in model.metrics] == [
        ("test/accuracy", 0.7, "birds")
    ]
    assert len(run.outputs.model_outputs) == 1


def left():
    return [file for file in unsent_folder().rglob("*") if file.is_file()]


def test_a_servers_run_arrives_while_it_is_under_way(proxy, at_the_server, table):
    with begin() as run:
        train(run, table)
    assert run.arrived
    check_whole(at_the_server, run.id)
    assert not left()


@pytest.mark.parametrize("state", ["gone", "500", "hanging", "cut"])
def test_a_run_outlives_its_server_and_arrives_once_with_the_next_command(
    state, proxy, at_the_server, table, caplog, monkeypatch
):
    def go_away():
        proxy.state = state
        if state == "hanging":
            monkeypatch.setattr(outbox, "PATIENCE", 0.2)
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    with begin() as run:
        train(run, table, go_away)
    assert not run.arrived
    assert "the next command here sends it" in caplog.text
    assert at_the_server.get_run(run.id).info.status == "RUNNING"
    assert not send_what_waits(proxy.uri)  # not yet
    proxy.state = "up"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    Store().open()
    check_whole(at_the_server, run.id)
    assert at_the_server.get_run(run.id).info.end_time < at_the_server.get_run(run.id).info.start_time + 60_000
    assert not left()


@pytest.mark.parametrize("but", [2, 5, 8, 11])
def test_an_answer_that_is_lost_makes_nothing_come_twice(but, proxy, at_the_server, table):
    with begin() as run:
        train(run, table, lambda: (setattr(proxy, "but", but), setattr(proxy, "state", "cut")))
    proxy.state = "up"
    assert send_what_waits(proxy.uri)
    check_whole(at_the_server, run.id)


def test_a_server_that_comes_back_in_mid_run_is_told_in_mid_run(proxy, at_the_server, table, caplog):
    with begin() as run:
        train(run, table, lambda: setattr(proxy, "state", "500"))
        while "takes nothing now" not in caplog.text:
            run._out._news.wait(0.01)
        proxy.state = "up"
    assert run.arrived
    check_whole(at_the_server, run.id)


def test_what_a_killed_process_left_is_sent_and_then_gone_on_with(proxy, at_the_server, table):
    run = TrackedRun(mlflow.MlflowClient().create_run(experiment_id("birds"), tags=TAGS))
    proxy.state = "gone"
    run.log_metrics({"val/accuracy": 0.1}, step=1)
    run._out.close()  # as a process's end would
    with (unsent_folder() / f"{run.id}.jsonl").open("ab") as journal:
        journal.write(b'{"do": "metrics", "points": [["val/accu')  # it was killed over this
    proxy.state = "up"
    assert send_what_waits(proxy.uri)
    assert len(at_the_server.get_metric_history(run.id, "val/accuracy")) == 1
    with begin(tags={}, params={}, resume=run.id) as again:
        again.log_metrics({"val/accuracy": 0.2}, step=2)
    assert [point.step for point in at_the_server.get_metric_history(run.id, "val/accuracy")] == [1, 2]


def test_a_server_that_is_required_ends_the_run_and_loses_nothing(proxy, at_the_server):
    steps = 0
    asked = pytest.raises(Stopped, match=r"does not answer .* and tracking.required=true")
    with asked, begin(required=True) as run:
        proxy.state = "gone"
        while steps < 10_000:
            steps += 1
            run.log_metrics({"val/accuracy": 0.1}, step=steps)
    proxy.state = "up"
    assert send_what_waits(proxy.uri)
    assert at_the_server.get_run(run.id).info.status == "FAILED"
    assert len(at_the_server.get_metric_history(run.id, "val/accuracy")) == steps
    proxy.state = "gone"
    with pytest.raises(BadInput, match=r"^MLFLOW_TRACKING_URI=http.*: no MLflow server answers there"):
        Store(required=True)


@pytest.mark.usefixtures("stand_in_made")
def test_where_none_answers_at_the_start_a_store_stands_in_whose_runs_are_moved(proxy, at_the_server, table, caplog):
    proxy.state = "gone"
    store = Store(required=False)
    store.open()
    assert store.stands_in
    assert caplog.text.count("no MLflow server answers at") == 1
    with begin(tags=TAGS | {"model": "stood in"}) as run:
        train(run, table)
    broken = begin(tags={"model": "stood in"})
    folder = broken.__enter__().folder
    (folder / "last.pt").write_text("state")
    assert not broken.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    proxy.state = "up"
    store = Store(required=False)
    store.open()
    assert not store.stands_in
    experiment = at_the_server.get_experiment_by_name("birds").experiment_id
    where = "tags.`carried.from` LIKE '%' and tags.model = 'stood in'"
    [two, one] = at_the_server.search_runs([experiment], where, order_by=["attributes.start_time DESC"])
    check_whole(at_the_server, one.info.run_id)
    assert two.info.status == "KILLED"
    assert [file.name for file in left() if file.suffix == ".pt"] == ["last.pt"]
    assert (unsent_folder() / two.info.run_id / "last.pt").is_file()  # from which it goes on


@pytest.mark.usefixtures("stand_in_made")
def test_a_sweeps_job_that_began_while_the_server_was_away_comes_to_its_sweep(proxy, at_the_server, monkeypatch):
    parent = sweeps.open_sweep("birds", ["seed=0,1"], ["seed=0,1"], ["seed=0", "seed=1"])
    proxy.state = "gone"
    Store(required=False).open()
    with begin(tags=TAGS | {"overrides": "seed=0"}) as job:
        job.log_metrics({"best/val_accuracy": 0.5})
    assert sweeps.note_best(job.id, 0.5) is None
    proxy.state = "up"
    Store(required=False).open()
    [there] = members(at_the_server, parent)
    assert there.data.metrics == {"best/val_accuracy": 0.5}
    jobs = sweeps.close_sweep(parent, {"seed=0": "0", "seed=1": "1"}, "died").jobs
    assert [job.info.status for job in jobs] == ["FINISHED", "FAILED"]
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)


def test_a_folder_in_which_much_waits_takes_no_further_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_room(0)
    unsent_folder().mkdir(parents=True)
    (unsent_folder() / "a").write_bytes(bytes(2000))
    check_room(2e-6)
    with pytest.raises(
        BadInput, match=r"2e-06 GB wait in .*unsent for an MLflow server, more than tracking.unsent_gb=1e-06"
    ):
        check_room(1e-6)
