import shlex
from types import SimpleNamespace

from pipeline.sweep import show, swept_values


def job(*overrides, name="job", status="FINISHED", metrics=None, **tags):
    info = SimpleNamespace(run_name=name, status=status, start_time=0, end_time=60_000)
    tags["overrides"] = shlex.join(overrides)
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics=metrics or {}))


def test_what_sets_jobs_apart_is_shown_without_what_they_share():
    jobs = [
        job("model=resnet18", "seed=1", "data.root='a b, c=d'"),
        job("model=vgg19", "seed=1", "data.root=e"),
    ]
    assert swept_values(jobs) == [
        {"model": "resnet18", "data.root": "'a b, c=d'"},
        {"model": "vgg19", "data.root": "e"},
    ]


def test_the_table_says_what_failed_and_what_to_type_next(capsys):
    good = job("seed=1", metrics={"best/val_accuracy": 0.875, "best/epoch": 3.0, "test/accuracy": 0.75})
    bad = job("seed=2", name="seed=2", status="FAILED", error="out of memory")
    show(SimpleNamespace(parent="abc", jobs=[good, bad], failed=[bad]))
    said = capsys.readouterr().out
    assert "87.50 %" in said
    assert "75.00 %" in said
    assert "failed: seed=2: out of memory" in said
    assert "next: python -m pipeline.promote sweep=abc" in said


def test_a_sweep_without_a_figure_suggests_nothing(capsys):
    bad = job("seed=2", status="FAILED")
    show(SimpleNamespace(parent="abc", jobs=[bad], failed=[bad]))
    assert "next:" not in capsys.readouterr().out
