"""The pages of trainings and folders, without a browser. What starts processes is left asleep."""

from dataclasses import replace

import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import Job, write

EVIL = "<img src=x onerror=alert(1)>"
PHOTOS = {"data": "folder", "data.root": "photos"}


@pytest.fixture
def queue(store, tmp_path):
    return Queue(tmp_path / "mlruns" / "jobs")


@pytest.fixture
def page(open_page, tmp_path, monkeypatch):
    """A visitor of a page over photographs, two levels of folders down; one class has an evil name."""
    monkeypatch.setattr(Queue, "wake", lambda _: None)
    for label in ("auk", EVIL):
        (tmp_path / "photos" / "north" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "north" / label / "1.jpg")
    return open_page(folders=[str(tmp_path / "photos")])


def test_without_a_folder_one_is_asked_for(page):
    said = page.get("/train?lang=es").text
    assert "Elegir una carpeta de fotos" in said
    assert "Empezar el entrenamiento" not in said


def test_a_folder_says_what_may_name_its_species(page):
    said = page.get("/data", params={"folder": "photos"}).text
    assert "Folder level 1, such as north" in said
    assert 'value="level 2" checked' in said
    assert EVIL not in said
    assert "&lt;img src=x" in said
    gone = page.get("/data", params={"folder": "photos/..", "lang": "es"})
    assert gone.status_code == 404
    assert 'Eso no está aquí (o ya no está): <span lang="en">' in gone.text


@pytest.mark.parametrize(
    ("filled", "asked"),
    [
        ({"labels": "level 2"}, "data=folder&data.root=photos&data.label_depth=2"),
        (
            {"labels": "pattern", "pattern": "{}/{label}/{}"},
            "data=folder&data.root=photos&data.from_path=%7B%7D%2F%7Blabel",
        ),
        ({"labels": "pattern", "pattern": " "}, "data=folder&data.root=photos&data.from_path=%7B%7D%2F%7Blabel"),
    ],
)
def test_labels_of_the_path_go_on_to_the_form(page, filled, asked):
    said = page.post("/data", data={"data.root": "photos", "action": "train"} | filled)
    assert said.status_code == 200
    assert asked in str(said.url)
    assert "Start the training" in said.text


def test_a_look_at_pictures_begins_from_the_folder(page, queue):
    said = page.post("/data", data={"data.root": "photos", "labels": "level 2", "action": "explore"})
    [job] = queue.jobs()
    assert (job.kind, job.given) == ("exploration", PHOTOS | {"data.label_depth": "2"})
    assert str(said.url).endswith(f"/data/{job.id}")
    assert "waiting" in page.get("/data").text


def test_what_is_wrong_is_said_at_its_field_in_the_visitors_language(page, queue):
    filled = PHOTOS | {"trainer.epochs": "diez", "data.from_path": EVIL, "by": EVIL, "action": "start"}
    said = page.post("/train?lang=es", data=filled)
    assert said.status_code == 400
    assert "hace falta un número entero de 1 a 1000" in said.text
    assert 'value="diez"' in said.text
    assert EVIL not in said.text
    assert queue.jobs() == []
    unknown = page.post("/train", data=PHOTOS | {"hydra.run.dir": "/tmp"})
    assert (unknown.status_code, queue.jobs()) == (400, [])


def test_the_usual_values_follow_the_choices(page):
    assert page.get("/train/defaults", params=PHOTOS | {"regime": "frozen"}).json()["optimizer.lr"] == "0.003"
    spanish = page.get("/train/defaults", params=PHOTOS | {"lang": "es"}).json()
    assert (spanish["data.split.test"], spanish["data.image_size"]) == ("0,2", "224")
    assert page.get("/train/defaults", params={"lang": "en"}).json()["data.image_size"] == "32"
    assert page.get("/train/defaults", params={"regime": "<b>"}).status_code == 400
    for name in ("moths", "../app"):
        assert page.get("/train/defaults", params={"data": name}).status_code == 400
        assert page.get("/train", params={"data": name}).status_code == 200


def test_a_training_is_followed_stopped_and_gone_on_with(page, queue):
    said = page.post("/train", data=PHOTOS | {"data.label_depth": "2", "by": EVIL, "action": "start"})
    [job] = queue.jobs()
    assert "Take it out of the queue" in said.text
    assert EVIL not in said.text
    assert "Go on" in page.post(f"/train/{job.id}/stop").text
    assert queue.job(job.id).state == "cancelled"
    assert "Take it out of the queue" in page.post(f"/train/{job.id}/resume").text
    assert page.post(f"/train/{job.id}/promote").status_code == 409
    assert page.post(f"/train/{job.id}/delete").status_code == 404
    assert 'value="2"' in page.get("/train", params=job.given).text  # to change something and train again


def test_why_a_training_failed_is_told_with_the_fields_of_the_form(page, queue):
    page.post("/train", data=PHOTOS | {"data.label_depth": "2", "action": "start"})
    [job] = queue.jobs()
    write(
        replace(job, state="failed", why="error", said=f"model.weights_file={EVIL}: there is no such file"),
        queue.folder,
    )
    said = page.get(f"/train/{job.id}?lang=es").text
    assert "model.weights_file es «Archivo de pesos propio»" in said
    assert EVIL not in said
    write(replace(job, state="failed", why="lost"), queue.folder)
    assert "nadie lo observara" in page.get(f"/train/{job.id}").text


def test_a_full_queue_is_said_on_the_form(page, monkeypatch):
    monkeypatch.setattr(Queue.__init__, "__defaults__", (1,))
    sent = PHOTOS | {"data.label_depth": "2", "action": "estimate"}
    page.get("/train?lang=es")
    assert page.post("/train", data=sent).status_code == 200
    said = page.post("/train", data=sent)
    assert said.status_code == 429
    assert "Ya esperan tantos" in said.text


def test_a_forecast_is_shown_in_figures(page, queue):
    page.post("/train", data=PHOTOS | {"data.label_depth": "2", "action": "estimate"})
    [job] = queue.jobs()
    write(replace(job, state="finished"), queue.folder)
    line = "forecast: 1.2 min, 1.4 GB of memory, 13 MB on disk (18 MB more while it trains)\n"
    queue.log_file(job).write_text(line)
    said = page.get(f"/train/{job.id}?lang=es").text
    assert "<b>1,2 min</b>" in said
    assert "<b>18 MB</b>" in said


def test_a_model_is_in_use_from_the_moment_of_its_promotion(trained, open_page):
    page, client = open_page(), MlflowClient()
    version = client.get_model_version_by_alias("birds", "champion").version
    run_id = next(one["run_id"] for one in page.get("/api/models").json() if one["address"] == f"birds/{version}")
    job = replace(Job.asked("training", (), about="birds"), state="finished", process="0 long gone", run_id=run_id)
    file = trained / "mlruns" / "jobs" / f"{job.id}.json"
    file.parent.mkdir(exist_ok=True)
    write(job, file.parent)
    client.delete_registered_model_alias("birds", "champion")
    try:
        assert "Put this model to use" in page.get(f"/train/{job.id}/live").text
    finally:
        client.set_registered_model_alias("birds", "champion", version)
    assert "This model is in use" in page.get(f"/train/{job.id}/live").text
    file.unlink()
