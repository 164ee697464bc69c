import pytest

from pipeline.tracking import sweep_progress
from pipeline.tracking.sweep_progress import SweepProgress


@pytest.fixture
def job(store):
    experiment = store.create_experiment("photos")
    parent = store.create_run(experiment, run_name="sweep").info.run_id

    def _job(name, *, minutes=None, status="FINISHED"):
        tags = {"mlflow.parentRunId": parent, "stage": "train", "overrides": name}
        run = store.create_run(experiment, start_time=1_000_000, tags=tags)
        if minutes:
            store.set_terminated(run.info.run_id, status, end_time=1_000_000 + 60_000 * minutes)

    return parent, _job


def test_the_rest_lasts_as_long_as_those_that_ended_shared_out_among_those_at_it(job, monkeypatch, caplog):
    parent, add = job
    monkeypatch.setattr(sweep_progress, "EVERY", 0.0)
    progress = SweepProgress(parent, 6)
    with caplog.at_level("INFO"):
        progress.tell()
        assert not caplog.messages  # nothing to go by yet
        add("seed=0", minutes=4)
        add("seed=1", minutes=2)
        add("seed=2")
        add("seed=3")
        progress.tell()
        progress.tell()  # nothing new
        assert caplog.messages == ["sweep: 2 of 6 jobs have ended; the rest: about 6.0 min, 2 at a time"]
        for seed in range(4, 8):
            add(f"seed={seed}", minutes=2)
        progress.tell()
    assert len(caplog.messages) == 1  # all six have: the table follows


def test_it_looks_seldom_and_a_store_that_is_away_hurts_nobody(job, monkeypatch, caplog):
    parent, add = job
    add("seed=0", minutes=1)
    with caplog.at_level("INFO"):
        SweepProgress(parent, 2).tell()  # begun just now
        monkeypatch.setattr(sweep_progress, "EVERY", 0.0)
        SweepProgress("0" * 32, 2).tell()
    assert not caplog.messages


def test_jobs_that_broke_off_before_are_still_to_be_done(job, store, monkeypatch, caplog):
    parent, add = job
    monkeypatch.setattr(sweep_progress, "EVERY", 0.0)
    add("seed=0", minutes=3)
    add("seed=1", minutes=1, status="KILLED")
    with caplog.at_level("INFO"):
        SweepProgress(parent, 3).tell()
    assert caplog.messages == ["sweep: 1 of 3 jobs have ended; the rest: about 6.0 min"]
