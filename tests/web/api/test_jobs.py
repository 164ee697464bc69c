"""Trainings over REST. What starts processes is left asleep here; the tests of the queue and of the page wake it."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from pipeline.web.api import jobs
from pipeline.web.jobs.queue import Queue
from pipeline.web.jobs.record import write

PHOTOS = {"data": "folder", "data.root": "photos"}


@pytest.fixture
def page(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(Queue, "wake", lambda _: None)
    for label in ("auk", "bee eater"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / label / "1.jpg")
    return open_page(folders=[str(tmp_path / "photos")])


def start(page, **more):
    return page.post("/api/trainings", json={"settings": PHOTOS | {"trainer.epochs": 2}} | more)


def test_a_training_is_asked_for_listed_and_stopped(page, tmp_path):
    said = start(page, by=" Ana ")
    assert said.status_code == 202
    job = said.json()
    assert (job["state"], job["about"], job["asked_by"], job["ahead"]) == ("queued", "photos", "Ana", 0)
    assert job["settings"] == PHOTOS | {"trainer.epochs": 2}
    assert start(page).json()["ahead"] == 1
    assert [one["id"] for one in page.get("/api/trainings").json()][1] == job["id"]
    assert page.delete(f"/api/trainings/{job['id']}").json()["state"] == "cancelled"
    told = page.get(f"/api/trainings/{job['id']}").json()
    assert (told["state"], told["epochs"], told["curves"], told["log"]) == ("cancelled", 0, {}, "")
    assert page.post(f"/api/trainings/{job['id']}/resume").json()["state"] == "queued"
    assert str(tmp_path) not in json.dumps(told)


def test_a_forecast_is_a_job_too(page, tmp_path):
    job = start(page, estimate=True).json()
    assert job["kind"] == "forecast"
    assert Queue(tmp_path / "mlruns" / "jobs").job(job["id"]).arguments[-1] == "estimate=true"
    assert page.post(f"/api/trainings/{job['id']}/promote").status_code == 404
    assert page.post(f"/api/trainings/{job['id']}/resume").status_code == 409


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"hydra.run.dir": "/tmp"}, "hydra.run.dir: this cannot be set here"),
        ({"tracking.experiment": "x"}, "tracking.experiment: this cannot be set here"),
        ({}, "data: say which kind of data set it is"),
        (PHOTOS | {"data.root": "photos/../.."}, "data.root: there is no photos/../.. in the folders"),
        (PHOTOS | {"model": "resnet19"}, "model: resnet19 is no answer; did you mean resnet18?"),
        ({"data": "folder"}, "data.root is missing: give it as data.root=..."),
        (PHOTOS | {"data.from_path": "a\nb"}, "data.from_path: a text of one line is wanted"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(page, asked, said):
    answer = page.post("/api/trainings", json={"settings": asked})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(said)
    assert page.get("/api/trainings").json() == []


def test_half_a_letter_is_said_back_as_text(page):
    asked = b'{"settings": {"\\ud800": "1"}}'  # half a pair of UTF-16, as JSON can hold it
    answer = page.post("/api/trainings", content=asked, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["detail"][:30]) == (400, "?: this cannot be set here; it")


def test_what_is_not_there_is_not_found(page):
    for path in ("/api/trainings/20260101-000000-00000000", "/api/trainings/..%2Fx", "/api/explorations/x"):
        assert page.get(path).status_code == 404, path
    assert page.delete("/api/trainings/nothing").status_code == 404
    assert page.get("/api/trainings/nothing/events").status_code == 404


def test_as_many_wait_as_may(page, monkeypatch):
    monkeypatch.setattr(Queue.__init__, "__defaults__", (2,))
    assert [start(page).status_code for _ in range(3)] == [202, 202, 429]


def test_what_waits_is_done_as_soon_as_the_page_is_open(open_page, monkeypatch):
    woken = []
    monkeypatch.setattr(Queue, "wake", lambda queue: woken.append(queue.folder.name))
    open_page()
    assert woken == ["jobs"]


def test_where_nothing_may_be_started_nothing_is(open_page):
    page = open_page(train=False)
    assert page.delete("/api/trainings/20260101-000000-00000000").status_code == 403
    assert page.post("/api/trainings", json={"settings": {}}).status_code == 403
    assert page.post("/api/explorations", json={"settings": {}}).status_code == 403


def test_events_tell_until_it_is_over(page, tmp_path):
    job = start(page).json()
    queue = Queue(tmp_path / "mlruns" / "jobs")
    (queue.folder / f"{job['id']}.log").write_text(f"epoch 1 of {tmp_path}/photos\n")
    write(replace(queue.job(job["id"]), state="failed", why="error", said="no pictures"), queue.folder)
    with page.stream("GET", f"/api/trainings/{job['id']}/events") as told:
        assert told.headers["content-type"].startswith("text/event-stream")
        lines = list(told.iter_lines())
    assert lines[0] == "event: training"
    last = json.loads(lines[1].removeprefix("data: "))
    assert (last["state"], last["said"], last["log"], last["can_go_on"]) == (
        "failed", "no pictures", "epoch 1 of photos\n", True,
    )  # fmt: skip
    assert "event: over" in lines


def test_who_follows_much_does_not_shut_others_out(page, monkeypatch):
    job = start(page).json()["id"]
    page.delete(f"/api/trainings/{job}")
    monkeypatch.setitem(jobs._following, "testclient", 4)  # its address
    assert page.get(f"/api/trainings/{job}/events").status_code == 429
    page.get("/train")  # another visitor
    assert page.get(f"/api/trainings/{job}/events").status_code == 200
