import shlex
from types import SimpleNamespace

from pipeline.cli.outcome import show, show_forecasts, swept_values
from pipeline.experiment.forecast import Forecast
from pipeline.tracking.sweeps import Outcome


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
    show(Outcome("abc", [good, bad]))
    said = capsys.readouterr().out
    assert "87.50 %" in said
    assert "75.00 %" in said
    assert "failed: seed=2: out of memory" in said
    assert "next: python -m pipeline.compare sweep=abc" in said
    assert "python -m pipeline.promote sweep=abc" in said


def test_a_job_that_is_not_sound_is_told_of_in_the_table(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    sound, short = (
        job(f"seed={seed}", metrics={"best/val_accuracy": 0.875}, **{"verdict.kind": kind})
        for seed, kind in enumerate(("sound", "still improving"))
    )
    show(Outcome("abc", [sound, short]))
    assert "still improving" in capsys.readouterr().out
    show(Outcome("abc", [sound, sound]))
    assert "verdict" not in capsys.readouterr().out


def test_a_narrow_terminal_cuts_no_name(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    jobs = [
        job("model=efficientnet_v2_s", "optimizer.lr=0.0003", f"loss={loss}", f"seed={seed}",
            metrics={"best/val_accuracy": 0.875, "best/epoch": 3.0, "test/accuracy": 0.75})
        for loss in ("cross_entropy", "focal") for seed in (0, 1)
    ]  # fmt: skip
    jobs.append(job("model=resnet18", "optimizer.lr=0.1", "loss=focal", "seed=0", status="FAILED"))
    show(Outcome("abc", jobs))
    said = capsys.readouterr().out
    assert "…" not in said
    assert "87.50 %" in said
    assert "failed" in said


def test_a_sweep_without_a_figure_suggests_nothing(capsys):
    bad = job("seed=2", status="FAILED")
    show(Outcome("abc", [bad]))
    assert "next:" not in capsys.readouterr().out


def test_seeds_and_folds_are_summed_up_as_mean_and_spread(capsys):
    figures = {("a", 0): 0.7, ("a", 1): 0.8, ("b", 0): 0.9, ("b", 1): 0.94}
    jobs = [
        job(f"model={model}", f"seed={seed}", metrics={"best/val_accuracy": value, "test/accuracy": value - 0.1})
        for (model, seed), value in figures.items()
    ]
    jobs.append(job("model=b", "seed=2", status="FAILED"))
    show(Outcome("abc", jobs))
    said = capsys.readouterr().out
    assert "over seed" in said
    assert "92.00 ± 2.83 %" in said
    assert "82.00 ± 2.83 %" in said
    assert "75.00 ± 7.07 %" in said
    folds = [job(f"data.split.fold={n}", metrics={"best/val_accuracy": 0.5 + n / 10}) for n in range(3)]
    show(Outcome("abc", folds))
    assert "60.00 ± 10.00 %" in capsys.readouterr().out
    show(Outcome("abc", [job("model=a", metrics={"best/val_accuracy": 0.5})]))
    assert "over" not in capsys.readouterr().out


def test_what_fits_into_a_budget_is_told_with_the_forecasts(tmp_path, capsys):
    for number in range(3):  # the first asks the backbone, for all
        Forecast(f"seed={number}", seconds=60.0, passes={"backbone": 60.0}).write(tmp_path)
    jobs = [f"seed={number}" for number in range(3)]
    assert show_forecasts(tmp_path, jobs, 185.0)
    assert (
        "trainer.time_budget=3.1 min: the first 2 jobs will fit, 1 will not (from seed=2 on)" in capsys.readouterr().out
    )
    show_forecasts(tmp_path, jobs, 240.0)
    assert "all of it will fit" in capsys.readouterr().out


def test_what_a_search_ended_early_is_no_failure(capsys):
    show(Outcome("abc", [job("seed=1", status="KILLED", pruned="ended after epoch 1 of 5")]))
    said = capsys.readouterr().out
    assert "pruned" in said
    assert "failed" not in said
