"""Jobs under a page, a runner and a training that are killed: real processes, which are ended before they train."""

import os
import time
from dataclasses import replace

import psutil
import pytest

from pipeline.common.errors import BadInput
from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import Job, read, write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks and signals as of Linux and macOS")
_PATIENCE = 300  # seconds; a busy machine takes its time


@pytest.fixture
def queue(store, tmp_path):
    """A queue beside a store; whatever is at work in it is ended."""
    queue = Queue(tmp_path / "jobs")
    yield queue
    for job in queue.jobs():
        queue.cancel(job.id)
    until(lambda: all(job.is_over for job in queue.jobs()))


def training(number=0):
    return Job.asked("training", ("data=digits", f"seed={number}", "trainer.epochs=1000"), by="Ana")


def until(what):
    began = time.monotonic()
    while not (found := what()):
        assert time.monotonic() - began < _PATIENCE
        time.sleep(0.02)
    return found


def number_of(queue, job):
    """Of the process at a job, when that has one."""
    until(lambda: queue.job(job.id).process)
    return int(queue.job(job.id).process.split()[0])


def runner_of(number):
    return psutil.Process(number).parent()


def test_of_two_one_is_at_work_whoever_is_killed(queue):
    first, second = queue.submit(training(1)), queue.submit(training(2))
    at_work = number_of(queue, first)
    process, runner = psutil.Process(at_work), runner_of(at_work)
    assert process.cmdline()[3:] == ["pipeline.train", "data=digits", "seed=1", "trainer.epochs=1000"]
    assert process.nice() >= 10
    assert os.getsid(at_work) != os.getsid(0)
    assert queue.ahead_of(second) == [queue.job(first.id)]

    runner.kill()  # and the page with it: another one finds all
    runner.wait()
    page = Queue(queue.folder)
    page.wake()
    time.sleep(1)
    assert [page.job(one.id).state for one in (first, second)] == ["running", "queued"]
    assert process.is_running()

    process.kill()
    until(lambda: page.job(second.id).state == "running")
    lost = page.job(first.id)
    assert (lost.state, lost.why) == ("failed", "lost")
    page.cancel(second.id)
    until(lambda: page.job(second.id).is_over)
    assert page.job(second.id).state == "cancelled"
    assert page.job(second.id).can_go_on


def test_a_training_that_is_killed_is_told_of_and_the_next_begins(queue):
    first, second = queue.submit(training(1)), queue.submit(training(2))
    psutil.Process(number_of(queue, first)).kill()
    until(lambda: queue.job(first.id).is_over)
    assert (queue.job(first.id).state, queue.job(first.id).why) == ("failed", "killed")
    number_of(queue, second)
    again = queue.submit(queue.job(first.id))
    assert (again.state, again.why, again.id) == ("queued", "", first.id)
    assert queue.submit(first) == again  # asked for twice, it is done once
    assert queue.cancel(first.id).state == "cancelled"
    queue.cancel(second.id)
    until(lambda: queue.job(second.id).is_over)


def test_what_waits_is_bounded(queue, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda _: None)
    small = Queue(queue.folder, most=2)
    small.submit(training(1))
    small.submit(training(2))
    with pytest.raises(BadInput, match="2 wait already"):
        small.submit(training(3))
    assert len(small.jobs()) == 2


def test_an_error_is_the_last_word_of_a_job(queue):
    long = queue.submit(Job.asked("training", ("seed=" + "1" * 2**18,)))  # no system starts that
    wrong = queue.submit(Job.asked("training", ("data.epochs=3",)))
    until(lambda: queue.job(wrong.id).is_over)
    job = queue.job(wrong.id)
    assert job.state == "failed"
    assert job.said.startswith("unknown key data.epochs")
    assert (queue.job(long.id).state, queue.job(long.id).said) == ("failed", "Argument list too long")


def test_files_that_are_no_records_are_left_alone(tmp_path):
    queue = Queue(tmp_path)
    job = training()
    write(job, tmp_path)
    (tmp_path / "20260101-000000-00000000.json").write_text("[1, 2")
    (tmp_path / "20260101-000000-00000001.json").write_text('{"id": "20260101-000000-00000001"}')
    write(replace(job, state="asleep", id="20260101-000000-00000002"), tmp_path)
    assert queue.jobs() == [job]
    assert queue.job("../jobs") is None
    assert read(tmp_path / "none.json") is None
