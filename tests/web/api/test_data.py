from dataclasses import replace

import mlflow
import pytest

from pipeline.tracking.liveness import PROCESS
from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import write


@pytest.fixture
def page(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda _: None)
    for name in ("moths/north/auk/1.jpg", "moths/north/bee eater/2.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(b"")
    return open_page(folders=[str(tmp_path / "photos")])


def test_folders_are_told_by_name(page, tmp_path):
    assert page.get("/api/folders").json()["folders"] == ["photos"]
    seen = page.get("/api/folders", params={"folder": "photos/moths"}).json()
    assert (seen["folders"], seen["pictures"], seen["depth"], seen["source"]) == (["north"], 2, 2, "folder")
    assert seen["samples"] == ["north/auk/1.jpg", "north/bee eater/2.jpg"]
    for name in ("photos/..", "/etc", "photos/moths/north/auk/1.jpg", "photos/%00", "nothing"):
        said = page.get("/api/folders", params={"folder": name})
        assert said.status_code == 404, name
        assert str(tmp_path) not in said.text


def test_a_look_at_pictures_takes_the_keys_of_pictures_alone(page):
    given = {"data": "folder", "data.root": "photos/moths", "data.label_depth": 2}
    job = page.post("/api/explorations", json={"settings": given}).json()
    assert (job["kind"], job["state"], job["about"]) == ("exploration", "queued", "photos/moths")
    assert page.get("/api/trainings").json() == []
    wrong = page.post("/api/explorations", json={"settings": given | {"trainer.epochs": 3}})
    assert wrong.status_code == 400
    assert wrong.json()["detail"].startswith("trainer.epochs: this cannot be set here")


def test_the_page_of_a_look_runs_nothing(page, tmp_path):
    given = {"data": "folder", "data.root": "photos/moths"}
    job_id = page.post("/api/explorations", json={"settings": given}).json()["id"]
    assert page.get(f"/api/explorations/{job_id}/page").status_code == 404
    mlflow.set_experiment("moths")
    with mlflow.start_run(tags={PROCESS: "1 2.00"}) as run:
        mlflow.log_text("<script>alert(1)</script>", "explore.html")
        mlflow.log_metric("data/pictures", 2)
    queue = Queue(tmp_path / "mlruns" / "jobs")
    write(replace(queue.job(job_id), state="finished", process="1 2.00"), queue.folder)
    told = page.get(f"/api/explorations/{job_id}").json()
    assert (told["run_id"], told["figures"]) == (run.info.run_id, {"data/pictures": 2.0})
    shown = page.get(f"/api/explorations/{job_id}/page")
    assert shown.headers["content-type"].startswith("text/html")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert "script-src" not in shown.headers["content-security-policy"]
    assert queue.job(job_id).run_id == run.info.run_id  # kept, should another process go on with that run
