import errno

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.common.errors import Stopped
from pipeline.config.defaults import flatten
from pipeline.tracking.journal import Journal
from pipeline.tracking.places import home, local_folder
from pipeline.tracking.runs import config_digest, run_given, tracked_run

CONFIG = {
    "seed": 0,
    "optimizer": {"lr": 0.1},
    "trainer": {"epochs": 3, "precision": "auto", "num_workers": None},
    "tracking": {"experiment": "digits"},
    "data": {"cache": "none", "split": {"seed": 0, "save": None}},
}


def tracked(experiment="digits", **options):
    return tracked_run(experiment, **({"name": None, "tags": {}, "params": {}} | options))


def test_flattening():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}, "g": None}) == {
        "a.b.c": 1,
        "a.d": [1, {"e": 2}],
        "f": {},
        "g": None,
    }


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.text("ab", min_size=1), inner), max_leaves=9))
def test_flattening_loses_no_value(config):
    def leaves(part):
        return (
            [leaf for inner in part.values() for leaf in leaves(inner)] if part and isinstance(part, dict) else [part]
        )

    assert sorted(map(str, flatten({"top": config}).values())) == sorted(map(str, leaves(config)))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"tracking": {"experiment": "other"}}, True),
        ({"trainer": CONFIG["trainer"] | {"num_workers": 4}}, True),
        ({"data": {"cache": "disk", "split": {"seed": 0, "save": "mine.csv"}}}, True),
        ({"data": {"cache": "none", "split": {"seed": 1, "save": None}}}, False),
        ({"seed": 1}, False),
        ({"optimizer": {"lr": 0.2}}, False),
    ],
)
def test_the_digest_tells_configs_apart_that_give_other_figures(change, same):
    machine = {"precision": "fp32", "threads": 2}
    assert (config_digest(CONFIG | change, machine, {}) == config_digest(CONFIG, machine, {})) is same
    assert (config_digest(CONFIG | change, machine, CONFIG) == config_digest(CONFIG, machine, CONFIG)) is same
    assert config_digest(CONFIG, machine, CONFIG) != config_digest(CONFIG, machine | {"threads": 1}, CONFIG)


def test_a_key_that_a_later_version_brings_changes_no_digest_at_its_default():
    machine, named = {"threads": 2}, {"model": {"name": "resnet18"}}
    run, defaults = CONFIG | named | {"optimizer": {"lr": 0.2}}, CONFIG | named
    newer = {"trainer": CONFIG["trainer"] | {"ema": 0.0}, "shots": {"k": 1}}
    assert config_digest(run | newer, machine, defaults | newer) == config_digest(run, machine, defaults)
    other = run | newer | {"shots": {"k": 2}}
    assert config_digest(other, machine, defaults | newer) != config_digest(run, machine, defaults)
    another = {"model": {"name": "vgg19"}}
    assert config_digest(run | another, machine, defaults | another) != config_digest(run, machine, defaults)


def test_a_run_holds_what_it_was_given_and_ends_finished(store):
    with tracked(name="one", tags={"stage": "train", "cores": 2}, params={"seed": 0, "long": "x" * 9000}) as run:
        run.log_metrics({"val/accuracy": 0.5}, step=1)
        (run.folder / "config.yaml").write_text("seed: 0")
    kept = store.get_run(run.id)
    assert (kept.info.run_name, kept.info.status) == ("one", "FINISHED")
    assert (kept.data.tags["stage"], kept.data.tags["cores"]) == ("train", "2")
    assert (kept.data.params["seed"], len(kept.data.params["long"])) == ("0", 6000)
    assert [file.path for file in store.list_artifacts(run.id)] == ["config.yaml"]


@pytest.mark.parametrize("error", [Stopped("the loss is no number"), KeyboardInterrupt(), SystemExit(143)])
def test_whatever_ends_a_run_leaves_it_ended(error, store):
    with pytest.raises(type(error)), tracked() as run:
        raise error
    kept = store.get_run(run.id)
    assert kept.info.status == ("FAILED" if isinstance(error, Stopped) else "KILLED")
    assert kept.data.tags.get("error") == (str(error) if isinstance(error, Stopped) else None)


def test_metrics_that_are_not_taken_are_told_of_once_and_made_up_for(store, monkeypatch, caplog):
    really, down = mlflow.MlflowClient.log_batch, True

    def log_batch(*arguments, **options):
        if down and options.get("metrics"):
            raise ConnectionError("the server is away")
        really(*arguments, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
    with tracked() as run:
        for step in (1, 2):
            run.log_metrics({"val/accuracy": step / 10}, step=step)
        down = False
        run.log_metrics({"val/accuracy": 0.3}, step=3)
    history = store.get_metric_history(run.id, "val/accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert caplog.text.count("the server is away") == 1


def test_metrics_are_made_up_for_at_the_end_at_the_latest(store, monkeypatch):
    really, calls = mlflow.MlflowClient.log_batch, []

    def log_batch(*arguments, **options):
        if options.get("metrics"):
            calls.append(1)
            if len(calls) == 1:
                raise ConnectionError("away")
        really(*arguments, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
    with tracked() as run:
        run.log_metrics({"lr": 0.1}, step=1)
    assert store.get_run(run.id).data.metrics == {"lr": 0.1}


@pytest.mark.parametrize(("error", "said"), [(Stopped("no space"), "no space"), (None, "as the disk is full")])
def test_where_neither_store_nor_journal_can_be_written_it_is_one_line(error, said, store, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("log_batch", "set_terminated"):
        monkeypatch.setattr(mlflow.MlflowClient, name, full)
    monkeypatch.setattr(Journal, "append", full)

    def end():
        with tracked():
            if error:
                raise error

    with pytest.raises(Stopped, match=said):
        end()


def test_a_run_is_gone_on_with_by_its_id(store):
    with tracked(params={"seed": 0}) as first:
        first.log_metrics({"lr": 1.0}, step=1)
    with tracked(params={"seed": 0}, resume=first.id) as second:
        second.log_metrics({"lr": 0.5}, step=2)
    assert second.id == first.id
    assert len(store.get_metric_history(first.id, "lr")) == 2


def test_the_run_of_mlflow_run_is_used_where_its_experiment_was_named(store, monkeypatch):
    named = store.create_run(store.create_experiment("named")).info.run_id
    unnamed = store.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", named)
    assert run_given("digits") == named
    monkeypatch.setenv("MLFLOW_RUN_ID", unnamed)
    with tracked() as run:
        pass
    assert store.get_experiment(run.experiment_id).name == "digits"
    assert "digits" in store.get_run(unnamed).data.tags["mlflow.note.content"]


class Remote:
    """A run as a server gives it."""

    class info:  # noqa: N801
        run_id = "abc"
        artifact_uri = "mlflow-artifacts:/1/abc/artifacts"


def test_files_for_a_server_wait_in_a_folder_that_follows_from_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert home(Remote) == home(Remote) == tmp_path / "mlruns" / "unsent" / "abc"


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("/a b/c", "/a b/c"),
        ("file:///a%20b/c", "/a b/c"),
        ("mlflow-artifacts:/1/x", None),
        ("s3://b/x", None),
    ],
)
def test_artifacts_on_this_machine_are_known(uri, folder):
    found = local_folder(uri)
    assert (found and str(found)) == folder
