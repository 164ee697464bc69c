"""The main job as a user types it, in a fresh folder with an awkward name: a sweep, promote, predict, the server."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from pipeline.predictions.parquet import read_predictions

ROOT = Path(__file__).parent.parent
QUICK = (
    "trainer.limit_batches=2", "trainer.batch_size=8", "trainer.threads=1", "model=squeezenet",
    "trainer.precision=fp32",
)  # fmt: skip
KINDS = (
    ("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("RGB", "jpg"), ("RGB", "png"), ("RGBA", "png"), ("P", "png"),
    ("RGB", "webp"), ("RGB", "bmp"), ("I;16", "tif"),
)  # fmt: skip
PHOTOS = (
    "data=folder", "data.image_size=32", "regime=scratch", "augmentation=none", "trainer.num_workers=0",
)  # fmt: skip


def environment(**more):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return plain | {"MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"} | more


def run(command, *arguments, cwd, **more):
    return subprocess.run(
        [sys.executable, "-m", f"pipeline.{command}", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, env=environment(PYTHONPATH=str(ROOT), **more),
    )  # fmt: skip


def client(folder):
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def runs_of(store, experiment=None):
    ids = [one.experiment_id for one in store.search_experiments() if experiment in (None, one.name)]
    return store.search_runs(ids)


def picture(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def of_kind(pixels, mode):
    """Pixels (h, w, 3) as a picture, of which some can be seen through."""
    if mode == "RGBA":
        return Image.fromarray(np.concatenate([pixels, pixels[..., :1]], axis=2))
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) << 8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fresh folder with photographs of two species, of each kind that is read."""
    where = tmp_path_factory.mktemp("a user's folder")
    chance = np.random.default_rng(0)
    for species, brightness in (("Félis catus", 0), ("dog", 150)):
        photos = where / "Imágenes" / "photos (1), a=b" / species
        photos.mkdir(parents=True)
        for number, (mode, ending) in enumerate(KINDS):
            pixels = chance.integers(brightness, brightness + 100, (40, 50, 3), dtype=np.uint8)
            made = of_kind(pixels, mode)
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8  # how the camera was held
            made.save(photos / f"{number}.{ending}", **({} if ending == "bmp" else {"exif": exif}))
    return where


@pytest.fixture(scope="module")
def sweep(folder):
    """Two jobs that end well and two that fail (no split has so few pictures), typed with ~ as the home folder."""
    return run(
        "train", "-m", *PHOTOS, *QUICK, "data.root=~/Imágenes/photos (1), a=b", "trainer.epochs=1,2",
        "data.split.folds=null,99",
        "hydra.sweep.dir=swept", "hydra.sweeper.max_batch_size=2", cwd=folder, HOME=str(folder),
    )  # fmt: skip


def test_a_sweep_is_one_parent_with_every_job_under_it(sweep, folder):
    assert sweep.returncode == 1
    assert "Traceback" not in sweep.stdout + sweep.stderr
    assert "error: data.split.folds: 99 folds cannot be made of " in sweep.stderr
    runs = runs_of(client(folder), "photos -1-- a-b")
    (parent,) = [one for one in runs if one.data.tags["stage"] == "sweep"]
    jobs = [one for one in runs if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(jobs) == len(runs) - 1 == 4
    assert parent.info.status == "FAILED"
    assert sorted(job.info.status for job in jobs) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    figures = [job.data.metrics["best/val_accuracy"] for job in jobs if job.info.status == "FINISHED"]
    assert parent.data.metrics["best/val_accuracy"] == max(figures)
    assert (folder / "swept").is_dir()
    assert "trainer.epochs" in sweep.stdout
    assert f"python -m pipeline.promote sweep={parent.info.run_id}" in sweep.stdout


def test_a_run_holds_its_whole_story(sweep, folder):
    store = client(folder)
    (run,) = [one for one in runs_of(store) if one.data.params.get("trainer.epochs") == "2"]
    assert run.data.params["data.root"] == "~/Imágenes/photos (1), a=b"
    assert {"stage", "model", "regime", "data", "git_sha", "config_digest", "data_digest"} <= set(run.data.tags)
    assert run.data.tags["stage"] == "train"
    assert len(store.get_metric_history(run.info.run_id, "val/accuracy")) == 2
    assert {"train/loss", "train/accuracy", "val/loss", "lr", "images_per_second"} <= set(run.data.metrics)
    assert {"best/val_accuracy", "best/epoch", "test/accuracy", "test/macro_f1"} <= set(run.data.metrics)
    kept = {file.path for part in (None, "predictions", "checkpoints")
            for file in store.list_artifacts(run.info.run_id, part)}  # fmt: skip
    assert {
        "config.yaml", "curves.png", "confusion_matrix.png", "confusion_matrix.csv", "class_report.csv",
        "predictions/val.parquet", "predictions/test.parquet", "checkpoints/best.safetensors",
    } <= kept  # fmt: skip
    assert "checkpoints/last.pt" not in kept
    assert run.data.tags["verdict"] in run.data.tags["mlflow.note.content"]
    pictures = run.inputs.dataset_inputs[0].dataset
    assert pictures.name == "photos (1), a=b"
    [best] = store.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}' AND model_type = 'checkpoint'"
    )
    assert {"best/val_accuracy", "test/accuracy"} <= {figure.key for figure in best.metrics}
    of = {(figure.dataset_name, figure.dataset_digest) for figure in best.metrics}
    assert of == {(pictures.name, pictures.digest)}


@pytest.fixture(scope="module")
def promoted(sweep, folder):
    return run("promote", "sweep=latest", cwd=folder)


def test_promote_makes_the_best_run_the_champion(promoted, folder):
    assert promoted.returncode == 0, promoted.stderr
    assert "mlflow models serve -m 'models:/photos -1-- a-b@champion' --env-manager local" in promoted.stdout
    version = client(folder).get_model_version_by_alias("photos -1-- a-b", "champion")
    assert int(version.version) == 1


def test_predict_answers_for_a_folder_and_skips_what_is_no_picture(promoted, folder, tmp_path):
    odd = tmp_path / "new, (photos) a=b"
    odd.mkdir()
    for name in ("one.jpg", "two.jpg"):
        (odd / name).write_bytes(picture("white"))
    (odd / "broken.jpg").write_bytes(b"no picture")
    done = run("predict", f"images={odd}", f"output={tmp_path / 'said (1).csv'}", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "broken.jpg" in done.stdout
    lines = (tmp_path / "said (1).csv").read_text().splitlines()
    assert lines[0].startswith("picture,label,probability")
    assert len(lines) == 3
    done = run("predict", f"images={odd}", "on_unreadable=raise", "output=no/such/folder.csv", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: output=no/such/folder.csv")


@contextmanager
def served(folder, tmp_path):
    """`mlflow models serve` from an empty folder, where `import pipeline` finds no repository."""
    decoy = tmp_path / "decoy" / "pipeline"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("raise ImportError('the model must bring its own code')")
    (tmp_path / "empty").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/photos -1-- a-b@champion",
         "--env-manager", "local", "-p", str(port)],
        cwd=tmp_path / "empty", start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment(
            PYTHONPATH=str(decoy.parent), MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}",
            MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        ),
    )  # fmt: skip
    try:
        for _ in range(240):
            if server.poll() is not None:
                raise RuntimeError("the server ended")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def said_of_val(folder):
    """Pictures of val and test, and their probabilities by label as the champion's run stored them, calibrated."""
    store = client(folder)
    version = store.get_model_version_by_alias("photos -1-- a-b", "champion")
    (model,) = (folder / "mlruns").glob(f"*/models/{version.source.rpartition('/')[2]}/artifacts/artifacts/served")
    temperature = json.loads((model / "model.json").read_text())["calibration"]["temperature"]
    run = store.get_run(store.get_logged_model(version.source.rpartition("/")[2]).source_run_id)
    root = Path(run.info.artifact_uri) / "predictions"
    for split in ("val", "test"):
        stored = read_predictions(root / f"{split}.parquet")
        shares = softmax(stored.logits / temperature, axis=1)
        for name, each in zip(stored.ids, shares, strict=True):
            data = next(folder.glob(f"Imágenes/*/{name}")).read_bytes()
            yield data, dict(zip(stored.classes, each.tolist(), strict=True))


def test_the_served_model_answers_over_http_without_the_repository(promoted, folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench" / "faults")
    hostile = import_module("hostile")
    text = base64.b64encode(picture("white")).decode()
    forms = [
        {"dataframe_split": {"columns": ["image"], "data": [[text]]}, "params": {"top_k": 2}},
        {"dataframe_records": [{"image": text}], "params": {"top_k": 2}},
        {"inputs": [{"image": text}], "params": {"top_k": 2}},
        {"instances": [{"image": text}]},
    ]
    address = f"data:image/png;base64,{text}"  # whatever kind it says
    forms += [{key: json.loads(json.dumps(form[key]).replace(text, address)) for key in form} for form in forms]
    forms.append({"dataframe_records": [{"image": text}], "params": {"top_k": None}})
    with served(folder, tmp_path) as url:
        replies = [post(url, form) for form in forms]
        refused = post(url, {"dataframe_records": [{"image": "bm8gcGljdHVyZQ=="}]})
        many = post(url, {"dataframe_records": [{"image": text}] * 257})
        sent, stored = zip(*said_of_val(folder), strict=True)
        again = post(url, {"inputs": [{"image": base64.b64encode(one).decode()} for one in sent]})
        asked = hostile.drawn(hostile.to_mlflow, 40)
        counts = hostile.play(url.removesuffix("/invocations"), asked, hostile.of_mlflow_itself)
        lives = post(url, forms[0])
    assert [status for status, _ in replies] == [200] * 9, replies
    (said,) = replies[0][1]["predictions"]
    how_deep = {"taxon", "rank", "taxon_probability", "why", "unknown"}
    assert set(said) - {"chain"} == {"label", "probability", "top_k"} | how_deep  # chain: where it is sure
    assert said["label"] in ("Félis catus", "dog")
    assert sum(one["probability"] for one in said["top_k"]) == pytest.approx(1)
    assert all(reply == replies[0][1] for _, reply in replies)
    for answer, shares in zip(again[1]["predictions"], stored, strict=True):
        assert {one["label"]: one["probability"] for one in answer["top_k"]} == pytest.approx(shares, abs=1e-4)
    assert (counts["wrong"], lives) == (0, replies[0])
    assert min(counts["answered"], counts["refused"]) > 0
    assert many[0] == 400
    assert "257 pictures in a request: at most 256" in many[1]["message"]
    assert refused[0] == 400
    assert "picture 0" in refused[1]["message"]
    assert str(ROOT) not in json.dumps(refused)
    assert "Traceback" not in json.dumps(refused)


def test_two_sweeps_at_once_in_a_fresh_folder_broken_off_leave_nothing_running(tmp_path):
    ways = (signal.SIGINT, signal.SIGTERM)
    # A shell's background job is started deaf to SIGINT, and would pass that on to what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.train", "-m", *QUICK, "seed=0,1", "trainer.epochs=50000"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1"),
        )
        for _ in ways
    ]  # fmt: skip
    try:
        for sweep, way in zip(started, ways, strict=True):
            assert any(line.startswith("epoch ") for line in sweep.stdout)  # the other's run perhaps, gone on with
            sweep.send_signal(way)
        for sweep, way in zip(started, ways, strict=True):
            said = sweep.communicate(timeout=300)[0]
            assert sweep.returncode == 128 + way, said
            assert "Traceback" not in said
    finally:
        for sweep in started:
            sweep.kill()
    left = [(one.info.status, one.info.run_name, one.data.tags.get("error")) for one in runs_of(client(tmp_path))]
    assert {status for status, *_ in left} == {"KILLED"}, left
    assert len(left) <= 3, left  # they share the sweep, and its two jobs


def test_mlflow_run_trains_into_the_experiment_where_promote_looks(tmp_path):
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("pipeline", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local", "-P",
         f"overrides={' '.join(QUICK)} trainer.epochs=1 data.classes=3"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = runs_of(client(tmp_path), "digits")
    assert (run.info.status, run.data.params["data.classes"]) == ("FINISHED", "3")
