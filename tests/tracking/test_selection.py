import os

import pytest

from pipeline.common.errors import BadInput
from pipeline.common.names import PARENT_VARIABLE
from pipeline.common.processes import identity
from pipeline.data.sources import read_source
from pipeline.tracking import selection, sweeps
from pipeline.tracking.liveness import PROCESS, own_process
from pipeline.tracking.runs import dataset_of, record_failure, tracked_run
from pipeline.tracking.selection import CHOOSE_BY, by_metric, find_experiment, find_run, find_sweep, trained_runs


@pytest.fixture(autouse=True)
def _no_parent(monkeypatch):
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)


def trained(accuracy, *, experiment="digits", name=None, stage="train", last=None, **tags):
    with tracked_run(experiment, name=name, tags={"stage": stage, **tags}, params={}) as run:
        run.log_metrics({CHOOSE_BY: accuracy, "best/val_log_loss": 1 - accuracy, "val/accuracy": last or accuracy})
    return run.id


def test_the_best_run_is_of_the_best_epoch_not_of_the_last_value_logged(store):
    best, _ = trained(0.9, last=0.1), trained(0.8, last=0.8)
    runs = trained_runs(store, find_experiment(store, "digits"))
    assert by_metric(runs)[0].info.run_id == best
    assert by_metric(runs, "best/val_log_loss")[0].info.run_id == best


def test_other_stages_and_failed_runs_do_not_count(store):
    one = trained(0.5)
    trained(0.9, stage="ensemble")
    with pytest.raises(RuntimeError), tracked_run("digits", name=None, tags={"stage": "train"}, params={}):
        raise RuntimeError
    assert [run.info.run_id for run in trained_runs(store, find_experiment(store, "digits"))] == [one]


def test_the_experiment_is_that_of_the_latest_run(store):
    with pytest.raises(BadInput, match="no runs yet: train first"):
        find_experiment(store, None)
    trained(0.5, experiment="birds")
    trained(0.5, experiment="shells")
    assert find_experiment(store, None).name == "shells"
    with pytest.raises(BadInput, match=r"tracking\.experiment=brids: .*did you mean birds\?"):
        find_experiment(store, "brids")


def test_a_sweeps_jobs_are_its_children_and_the_parent_tells_of_them(store):
    outside = trained(0.99)
    parent = sweeps.open_sweep("digits", ["model=resnet18,resnet50", "seed=1"], ["model=resnet18,resnet50"])
    low, high = trained(0.5, name="low"), trained(0.7, name="high")
    sweeps.note_best(low, 0.5)
    sweeps.note_best(high, 0.7)
    record_failure("", name="bad", tags={"stage": "train"}, error="data.root: no such folder")
    outcome = sweeps.close_sweep(parent)
    assert [job.info.run_name for job in outcome.jobs] == ["high", "low", "bad"]
    assert [job.data.tags["error"] for job in outcome.failed] == ["data.root: no such folder"]
    kept = store.get_run(parent)
    assert kept.info.status == "FAILED"
    assert kept.info.run_name == "sweep model=resnet18,resnet50"
    assert (kept.data.metrics[CHOOSE_BY], kept.data.tags["best_run"]) == (0.7, high)
    experiment = find_experiment(store, "digits")
    assert {run.info.run_id for run in trained_runs(store, experiment, "latest")} == {low, high}
    assert outside in {run.info.run_id for run in trained_runs(store, experiment)}
    with pytest.raises(BadInput, match=rf"no such sweep; it can be latest, {parent}"):
        find_sweep(store, experiment, "another")


def test_the_latest_sweep_is_looked_for_in_every_experiment(store):
    sweeps.close_sweep(sweeps.open_sweep("shells", ["seed=0,1"], ["seed=0,1"]))
    parent = sweeps.open_sweep("birds", ["seed=0,1"], ["seed=0,1"])
    trained(0.5, experiment="birds")
    sweeps.close_sweep(parent)
    trained(0.5, experiment="digits")  # later, and of no sweep
    assert find_experiment(store, None).name == "digits"
    assert find_experiment(store, None, "latest").name == "birds"
    assert find_experiment(store, None, parent).name == "birds"
    assert find_experiment(store, "shells", "latest").name == "shells"
    with pytest.raises(BadInput, match="sweep=another: digits has no sweep yet"):
        find_sweep(store, find_experiment(store, None, "another"), "another")


def test_jobs_that_are_missing_are_told_of(store, caplog):
    parent = sweeps.open_sweep("digits", ["seed=0,1,2"], ["seed=0,1,2"], ["seed=0", "seed=1", "seed=2"])
    trained(0.5)
    experiment = find_experiment(store, "digits")
    assert len(trained_runs(store, experiment, parent)) == 1
    assert "of the sweep's 3 jobs 1 finished" in caplog.text
    sweeps.abandon_sweep(parent)


def test_a_sweep_is_named_by_what_is_swept(store, monkeypatch):
    monkeypatch.delenv("PIPELINE_SWEPT_KEYS", raising=False)
    swept = ["model=glob(*)", "seed=0,1"]
    parent = sweeps.open_sweep("digits", ["data.classes=[a,b]", *swept], swept)
    assert store.get_run(parent).info.run_name == "sweep model=glob(*) seed=0,1"
    assert os.environ["PIPELINE_SWEPT_KEYS"] == "model,seed"
    sweeps.abandon_sweep(parent)


def test_a_sweeps_parent_says_what_was_asked_by_whom_and_of_which_pictures(store):
    parent = sweeps.open_sweep("digits", ["+data=digits", "seed=0", "seed=0,1", "~loss.gamma"], ["seed=0,1"])
    for _ in range(2):
        with tracked_run("digits", name=None, tags={"stage": "train"}, params={}) as run:
            run.log_inputs(dataset_of(read_source("digits")))
    sources = {store.get_run(one).data.tags["mlflow.source.name"] for one in (parent, run.id)}
    assert sources == {"pipeline.train"}  # the same under each launcher, whose own program it may be
    assert not sweeps.close_sweep(parent).failed
    made = store.get_run(parent)
    assert made.data.params == {"data": "digits", "seed": "0,1"}
    assert {"git_sha", "mlflow.user"} <= set(made.data.tags)
    assert {one.dataset.name for one in made.inputs.dataset_inputs} == {"digits"}


def test_a_sweep_that_is_broken_off_leaves_nothing_running(store):
    empty = sweeps.open_sweep("digits", [], [])
    sweeps.abandon_sweep(empty)
    assert store.get_run(empty).info.lifecycle_stage == "deleted"
    parent = sweeps.open_sweep("digits", ["seed=1,2"], ["seed=1,2"])
    killed = store.create_run(
        find_experiment(store, "digits").experiment_id, tags={"mlflow.parentRunId": parent, "stage": "train"}
    ).info.run_id
    sweeps.abandon_sweep(parent)
    assert {store.get_run(one).info.status for one in (parent, killed)} == {"KILLED"}


def test_a_sweep_that_others_are_at_is_theirs_and_what_befell_it_before_is_forgotten(store):
    parent = sweeps.open_sweep("digits", ["seed=1,2"], ["seed=1,2"])
    store.set_tag(parent, "error", "its process was ended")  # and the command was typed again
    other = own_process() | {PROCESS: identity(os.getppid())}
    tags = {"mlflow.parentRunId": parent, "stage": "train", "overrides": "seed=1", **other}
    job = store.create_run(find_experiment(store, "digits").experiment_id, tags=tags).info.run_id
    assert sweeps.close_sweep(parent).under_way
    kept = store.get_run(parent)
    assert kept.info.status == "RUNNING"
    assert kept.data.tags[PROCESS] == other[PROCESS]
    assert "error" not in kept.data.tags
    store.set_terminated(job)
    sweeps.close_sweep(parent)


def test_at_a_sweeps_end_jobs_without_a_run_get_one_that_failed(store):
    parent = sweeps.open_sweep("digits", ["seed=1,2,3"], ["seed=1,2,3"])
    trained(0.5, name="one", overrides="seed=1")
    sweeps.record_job("seed=2", "seed=2", "MemoryError")
    jobs = {f"seed={seed}": f"job {seed}" for seed in (1, 2, 3)}
    outcome = sweeps.close_sweep(parent, jobs, "its process died")
    assert store.get_run(parent).info.status == "FAILED"
    assert {job.info.run_name: job.data.tags.get("error") for job in outcome.jobs} == {
        "one": None, "seed=2": "MemoryError", "job 3": "its process died",
    }  # fmt: skip

    again = sweeps.open_sweep("digits", ["seed=1,2,3"], ["seed=1,2,3"])
    assert again == parent
    trained(0.6, name="two", overrides="seed=2")
    outcome = sweeps.close_sweep(parent, jobs, "its process died")
    assert {job.info.run_name for job in outcome.jobs} == {"one", "two", "job 3"}
    runs = store.search_runs([store.get_run(parent).info.experiment_id])
    assert len(runs) == 4  # and none that stood in for the second


def test_more_runs_than_a_page_holds_are_all_seen(store, monkeypatch):
    monkeypatch.setattr(selection, "_PAGE", 2)
    for accuracy in (0.1, 0.2, 0.3):
        trained(accuracy)
    assert len(trained_runs(store, find_experiment(store, "digits"))) == 3


def test_a_run_of_another_kind_is_described(store):
    job = trained(0.5)
    experiment = store.get_run(job).info.experiment_id
    for stage, more, said in (
        ("evaluate", {"evaluated_run": job}, f"an evaluation, not a network; the run that it asked is {job}"),
        ("ensemble", {}, "an ensemble, not one network's training"),
        ("compare", {}, "a run of the command compare"),
        ("", {}, "no run of this pipeline"),
    ):
        other = store.create_run(experiment, tags={"stage": stage, **more}).info.run_id
        with pytest.raises(BadInput, match=f"resume={other}: that is {said}"):
            find_run(store, other, f"resume={other}", ("train",))
    parent = store.create_run(experiment, tags={"stage": "sweep"}).info.run_id
    store.set_tag(job, "mlflow.parentRunId", parent)
    with pytest.raises(BadInput, match=f"a sweep, not one of its jobs; name a job, such as {job}, the best by val"):
        find_run(store, parent)
    assert find_run(store, job).info.run_id == job
    store.delete_run(job)
    with pytest.raises(BadInput, match="that run was deleted"):
        find_run(store, job)


def test_a_run_that_is_not_there_is_named(store):
    with pytest.raises(BadInput, match="run=nothing: MLflow has no run of that id"):
        find_run(store, "nothing")
