"""docs/extending.md as its reader follows it: every file and change made in a copy, which then trains with all."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```\w+\n# (file|change): (\S+)\n(.*?)```", re.DOTALL)


def changed(text, change):
    """The text with a block's lines added and removed; what the block shows of it must stand there once."""
    lines = [(line[:1] or " ", line[1:]) for line in change.splitlines()]
    before = "".join(f"{line}\n" for sign, line in lines if sign in " -")
    after = "".join(f"{line}\n" for sign, line in lines if sign in " +")
    assert text.count(before) == 1, before
    return text.replace(before, after)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    for name in ("pipeline", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("```") / 2
    for kind, path, text in blocks:
        file = folder / path
        assert file.exists() == (kind == "change"), path
        file.write_text(changed(file.read_text(encoding="utf-8"), text) if kind == "change" else text, encoding="utf-8")
    digits = load_digits()
    pictures = np.repeat((digits.images * 15.9).astype(np.uint8)[..., None], 3, axis=-1)
    lines = [f"{number:06d},{'yes' if target in (0, 6, 8, 9) else 'no'}" for number, target in enumerate(digits.target)]
    (folder / "traits.csv").write_text("\n".join(["path,round", *lines[:300]]))
    np.savez(folder / "scans.npz", pictures=pictures[:300], labels=digits.target[:300])
    return folder


def typed(folder, command, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"pipeline.{command}", *arguments], cwd=folder, capture_output=True, text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
    )  # fmt: skip


def test_a_run_with_every_extension_and_a_vote_of_two(copy):
    done = typed(
        copy, "train", "-m", "data=npz", "data.file=scans.npz", "model=resnet10t", "regime=scratch", "head=cosine",
        "loss=poly", "optimizer=nadam", "augmentation=posterize", "seed=0,1", "trainer.epochs=1",
        "trainer.limit_batches=2", "trainer.threads=1", "data.beside=traits.csv", "data.traits=[round]",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    done = typed(copy, "ensemble", "strategies=[soft_vote]", "choose=geometric_mean")
    assert done.returncode == 0, done.stdout + done.stderr
    store = MlflowClient(f"sqlite:///{copy / 'mlflow.db'}")
    runs = store.search_runs([store.get_experiment_by_name("scans").experiment_id])
    params = next(run.data.params for run in runs if run.data.tags["stage"] == "train")
    assert [params[f"{group}.name"] for group in ("model", "head", "loss", "optimizer", "augmentation")] == [
        "timm/resnet10t", "cosine", "poly", "nadam", "posterize",
    ]  # fmt: skip
    (facts, *_) = (copy / "mlruns").rglob("best.json")
    assert json.loads(facts.read_text())["network"]["beside"] == [{"name": "traits", "named": ["round"]}]
    assert [run.data.tags["strategy"] for run in runs if run.data.tags["stage"] == "ensemble"] == ["geometric_mean"]


def test_the_command(copy):
    done = typed(copy, "tally", "data=npz", "data.file=scans.npz")
    assert done.returncode == 0, done.stderr
    assert sum(int(line.rpartition(" ")[2]) for line in done.stdout.splitlines()) == 300
    assert "unknown key data.fil" in typed(copy, "tally", "data.fil=x").stderr


def test_the_code_of_the_page_is_clean(copy):
    for how in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *how, "--no-cache", "pipeline"], cwd=copy, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
