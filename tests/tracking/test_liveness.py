import os
import subprocess
import sys

import pytest

from pipeline.common.processes import identity
from pipeline.tracking import liveness
from pipeline.tracking.liveness import HEARTBEAT, HOST, PROCESS, end_the_dead, is_own, is_under_way, own_process
from pipeline.tracking.places import local_folder
from pipeline.tracking.runs import tracked_run


@pytest.fixture
def running(store):
    """A run left RUNNING with these tags."""

    def _running(**tags):
        return store.create_run(store.create_experiment(f"{len(store.search_experiments())}"), tags=tags)

    return _running


def dead_process():
    """The tags of a process that is no more."""
    said = "from pipeline.tracking.liveness import own_process as o; print(o()['process.id'])"
    done = subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True)
    return own_process() | {PROCESS: done.stdout.strip()}


def test_a_process_is_known_by_its_number_and_when_it_began(running):
    alive = running(**own_process())
    assert is_under_way(alive)
    assert is_own(alive)
    parent = running(**own_process() | {PROCESS: identity(os.getppid())})
    assert is_under_way(parent)
    assert not is_own(parent)
    assert not is_under_way(running(**own_process() | {PROCESS: f"{os.getpid()} 1.00"}))  # the number was given again
    assert not is_under_way(running(**dead_process()))
    assert not is_under_way(running())


def test_another_machines_process_lives_while_it_gives_signs(running):
    elsewhere = own_process() | {HOST: "another"}
    assert is_under_way(running(**elsewhere))
    assert not is_under_way(running(**elsewhere | {HEARTBEAT: "1000"}))


def test_what_the_dead_left_is_marked_and_nothing_else(running, store):
    left, alive, of_others = running(**dead_process()), running(**own_process()), running()
    begun = local_folder(left.info.artifact_uri) / "checkpoints" / ".making-best.safetensors.x"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"half")
    end_the_dead(store)
    assert not begun.exists()
    assert store.get_run(left.info.run_id).info.status == "KILLED"
    assert {store.get_run(one.info.run_id).info.status for one in (alive, of_others)} == {"RUNNING"}


@pytest.mark.parametrize("asked", [SystemExit(143), KeyboardInterrupt()])
def test_a_run_that_is_asked_to_end_is_killed_not_failed(asked, store):
    with pytest.raises(type(asked)), tracked_run("digits", name=None, tags={}, params={}) as run:
        raise asked
    assert store.get_run(run.id).info.status == "KILLED"


def test_a_run_gives_signs_of_life(store, monkeypatch):
    monkeypatch.setattr(liveness, "_BEAT", 0.01)
    with tracked_run("digits", name=None, tags={}, params={}) as run:
        store.set_tag(run.id, HEARTBEAT, "1000")
        for _ in range(1000):
            if store.get_run(run.id).data.tags[HEARTBEAT] != "1000":
                break
        else:
            pytest.fail("no sign")
