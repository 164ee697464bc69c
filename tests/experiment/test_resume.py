"""A run that breaks off and goes on ends with the same figures, to the last bit, as one that did not."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.config.keys import CONF
from pipeline.experiment.training import prepare, train
from pipeline.tracking.finished import artifact_folder
from pipeline.train import main
from pipeline.training import checkpoints
from pipeline.training.checkpoints import Saver
from pipeline.training.loop import Progress

COMMON = (
    "model=squeezenet", "data.classes=3", "trainer.limit_batches=3", "trainer.batch_size=8", "trainer.threads=1",
    "trainer.accelerator=cpu", "trainer.num_workers=0", "trainer.precision=fp32", "head.dropout=0.5",
    "augmentation=trivial", "trainer.epochs=4",
)  # fmt: skip


def go(folder, *overrides, until=None, resume=None):
    """Figures of the epochs up to `until`."""
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        config = check(compose("train", [*COMMON, *overrides, f"resume={resume or 'auto'}"]), "train")
    prepared = prepare(config)
    figures = []
    for epoch in train(config, prepared, folder, Progress()):
        figures.append((epoch.epoch, epoch.train_loss, epoch.val_loss, epoch.val_accuracy, epoch.lr, epoch.improved))
        if epoch.epoch == until:
            break  # here the next epoch is never begun, as after a crash
    return figures


class BrokenOff(BaseException):
    pass


@pytest.fixture
def _saves_every_epoch(monkeypatch):
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(checkpoints, "monotonic", lambda: next(now))


@pytest.mark.usefixtures("_saves_every_epoch")
@pytest.mark.parametrize(
    "overrides",
    [
        ["scheduler=onecycle"],
        ["scheduler=plateau", "scheduler.patience=0", "optimizer=sgd", "optimizer.lr=0.01"],
        ["scheduler=step", "scheduler.step_epochs=1", "trainer.accumulate=2", "trainer.clip_norm=1"],
        ["trainer.patience=2", "optimizer.lr=1e-12"],
        ["regime.head_epochs=2", "trainer.epochs=2"],
        ["regime.head_epochs=3", "trainer.epochs=2", "trainer.patience=1", "optimizer.lr=1e-12"],
    ],
    ids=" ".join,
)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_last_bit(overrides, tmp_path):
    whole = go(tmp_path / "whole", *overrides)
    best = (tmp_path / "whole" / "best.safetensors").read_bytes()
    for until in range(1, len(whole)):
        folder = tmp_path / str(until)
        before = go(folder, *overrides, until=until)
        torch.manual_seed(99)
        after = go(folder, *overrides, resume="this")
        assert before + after == whole
        assert (folder / "best.safetensors").read_bytes() == best


@pytest.mark.usefixtures("_saves_every_epoch")
def test_so_is_one_that_breaks_off_within_an_epoch(tmp_path, monkeypatch):
    overrides = ["scheduler=onecycle", "trainer.accumulate=2", "trainer.num_workers=1", "trainer.epochs=2"]
    whole = go(tmp_path / "whole", *overrides)
    best = (tmp_path / "whole" / "best.safetensors").read_bytes()
    saved = Saver._save
    for most in (1, 2, 4, 5, 6):
        count = iter(range(1, 100))

        def save(saver, most=most, count=count):
            saved(saver)
            if next(count) == most:
                raise BrokenOff

        folder = tmp_path / str(most)
        with monkeypatch.context() as patch:
            patch.setattr(Saver, "_save", save)
            with suppress(BrokenOff):
                go(folder, *overrides)
        torch.manual_seed(99)
        after = go(folder, *overrides)
        assert after == whole[len(whole) - len(after) :]
        assert (folder / "best.safetensors").read_bytes() == best


# Kills itself, as the system would, when so many files of its checkpoints are written; saves the state in every epoch.
KILLED = """
import os, signal, sys
from pipeline.models import saved
from pipeline.training import checkpoints
checkpoints.monotonic = iter(range(0, 10**9, 1000)).__next__
really, left = saved.write_atomically, [int(sys.argv.pop(1))]
def write(file, fill, **options):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    really(file, fill, **options)
checkpoints.write_atomically = saved.write_atomically = write
from pipeline.experiment.training import prepare, train
from pipeline.train import main
main()
"""


@pytest.fixture
def typed(monkeypatch):
    """Type the command; its exit code."""

    def _typed(*arguments):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        try:
            main()
        except SystemExit as end:
            return end.code
        return 0

    return _typed


def photographs(folder):
    from PIL import Image

    for number in range(36):
        file = folder / ("ant", "bee", "cat")[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(number)).byte()
        Image.fromarray(noise.numpy()).save(file)
    return folder


PHOTOS = (*COMMON[2:], "model=squeezenet", "data=folder", "data.root=photos", "data.image_size=32", "regime=scratch")


@pytest.fixture
def killed(store, tmp_path):
    """Kill a run when so many files of its checkpoints are written; its id."""
    photographs(tmp_path / "photos")

    def _killed(files):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(files), *PHOTOS], check=False, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL
        [run, *_] = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
        assert run.info.status == "RUNNING"
        return run.info.run_id

    return _killed


@pytest.fixture
def broken_off(store, tmp_path, monkeypatch, typed, _saves_every_epoch):
    """Break off a run in this process, which is quicker: its id."""
    photographs(tmp_path / "photos")

    def _broken_off(*arguments):
        def describe(epoch):
            if epoch.epoch == 2:
                raise BrokenOff
            return ""

        with monkeypatch.context() as patch:
            patch.setattr("pipeline.experiment.training_run.describe", describe)
            with pytest.raises(BrokenOff):
                typed(*PHOTOS, *arguments)
        [run] = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
        return run.info.run_id

    return _broken_off


def story(store, run_id):
    """All that should be alike, to the last bit: figures, curves, weights, what was kept."""
    run = store.get_run(run_id)
    folder = artifact_folder(run, "")
    timed = ("images_per_second",)
    figures = {name: value for name, value in run.data.metrics.items() if name not in timed}
    curves = {
        name: sorted({(point.step, point.value) for point in store.get_metric_history(run_id, name)})
        for name in ("train/loss", "val/loss", "val/accuracy", "lr")
    }
    names = ("checkpoints/best.safetensors", "checkpoints/best.json", "split.csv")
    kept = {name: (folder / name).read_bytes() for name in names}
    return figures, curves, kept


def test_a_killed_run_goes_on_to_the_same_figures_weights_and_split(killed, typed, store, tmp_path, capsys):
    run_id = killed(files=4)
    assert typed(*PHOTOS, "resume=never") == 0
    [whole, _] = store.search_runs([store.get_experiment_by_name("photos").experiment_id])
    before = store.get_run(run_id).data
    config = (artifact_folder(store.get_run(run_id), "") / "config.yaml").read_bytes()
    (tmp_path / "photos" / "ant" / "00.png").write_bytes((tmp_path / "photos" / "bee" / "1.png").read_bytes())
    assert typed(f"resume={run_id}", "trainer.num_workers=1", "data.cache=memory") == 0
    assert "of its own pictures of photos: 1 is new and not among them" in capsys.readouterr().out
    assert story(store, run_id) == story(store, whole.info.run_id)
    after = store.get_run(run_id)
    assert after.info.status == "FINISHED"
    assert after.data.params == before.params
    assert all(after.data.tags[name] == before.tags[name] for name in ("overrides", "data_digest", "config_digest"))
    assert (artifact_folder(after, "") / "config.yaml").read_bytes() == config
    assert yaml.safe_load(config)["resume"] == "auto"
    assert typed(f"resume={run_id}") == 2
    assert "there is nothing to go on from (finished)" in capsys.readouterr().err


def test_what_cannot_go_on_as_it_was_is_refused_and_left_as_it_is(broken_off, typed, store, tmp_path, capsys):
    run_id = broken_off()
    folder = artifact_folder(store.get_run(run_id), "")
    before = {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for arguments, said in [
        (
            ["trainer.epochs=9"],
            "leave out trainer.epochs=9 (its trainer.epochs is 4); beside it can stand trainer.num_",
        ),
        (
            ["model=vgg19", "seed=1"],
            "model=vgg19 (its model.name is torchvision/squeezenet1_0), seed=1 (its seed is 0);",
        ),
        (
            ["experiment=cats_dogs", "data=digits"],
            "goes on with the run's own config: leave out experiment=cats_dogs, ",
        ),
        (["tracking.run_name=another"], "leave out tracking.run_name=another (its tracking.run_name is None)"),
    ]:
        assert typed(f"resume={run_id}", *arguments) == 2
        assert said in capsys.readouterr().err
    picture = tmp_path / "photos" / "ant" / "0.png"
    picture.write_bytes((tmp_path / "photos" / "ant" / "3.png").read_bytes())
    assert typed(f"resume={run_id}") == 2
    assert f"resume={run_id}: photos is no longer what the run was trained on: ant/0.png has" in capsys.readouterr().err
    picture.unlink()
    assert typed(f"resume={run_id}") == 2
    assert "ant/0.png is gone; put back what was there" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert store.get_run(run_id).info.status == "FAILED"


def test_a_run_older_than_a_key_goes_on_with_its_default(broken_off, typed, store, capsys):
    run_id = broken_off("loss=focal")
    file = artifact_folder(store.get_run(run_id), "") / "config.yaml"
    store.set_tag(run_id, "machine.precision", "bf16")
    stored = yaml.safe_load(file.read_text())
    del stored["trainer"]["feature_cache_gb"], stored["data"]["cache_gb"], stored["loss"]["gamma"]
    file.write_text(yaml.safe_dump(stored))
    assert typed(f"resume={run_id}", "trainer.epochs=4") == 0  # what is as in the run may be typed again
    assert "as today's defaults: loss.gamma, trainer.feature_cache_gb, data.cache_gb" in (
        said := capsys.readouterr().out
    )
    assert "the run began with precision bf16 and goes on with fp32: its figures need not be" in said
    assert store.get_run(run_id).info.status == "FINISHED"
