"""A launcher's own signal waits, as a request to end does, until what was learned is on disk."""

import os
import signal
import subprocess
import sys

JOB = """
import os, signal, sys
from pipeline.common.interruption import between_steps, heed, listen, requested

def queue_again(number, frame):  # as submitit does
    print("queued", flush=True)
    sys.exit(9)

signal.signal(signal.SIGUSR2, queue_again)
listen()
listen()  # each job of a process does

def ask():
    os.kill(os.getpid(), signal.SIGUSR2)
"""


def ran(code):
    done = subprocess.run([sys.executable, "-c", JOB + code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


def test_where_work_can_be_kept_it_is_kept_first():
    code = """
with between_steps():
    ask()
    print("kept" if requested() else "lost", flush=True)
    heed()
print("never")
"""
    assert ran(code) == (9, ["kept", "queued"])


def test_elsewhere_the_launcher_has_it_at_once():
    assert ran("ask()\nprint('never')") == (9, ["queued"])


def test_who_goes_on_after_the_launchers_answer_is_ended():
    code = """
with between_steps():
    ask()
    try:
        heed()
    except SystemExit:
        pass
    heed()
print("never")
"""
    assert ran(code) == (128 + signal.SIGUSR2, ["queued"])


def test_a_signal_that_nobody_answers_ends_as_ever():
    done = subprocess.run(
        [sys.executable, "-c", "import os, signal\nfrom pipeline.common.interruption import listen\nlisten()\n"
         "os.kill(os.getpid(), signal.SIGUSR1)\nprint('never')"],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (-signal.SIGUSR1, "")
