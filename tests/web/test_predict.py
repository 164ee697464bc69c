"""REST for programs: pictures asked about, models listed and described."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from pipeline.serving.answers import Wanted
from pipeline.serving.asking import answer
from pipeline.serving.bundle import read_bundle
from pipeline.serving.calibrating import calibrated_on
from pipeline.tracking.registry import fetch_model
from pipeline.web import models
from pipeline.web.models import Models

EVIL = "<img src=x onerror=alert(1)>"


def sent(*pictures):
    return [("files", (name, data, "image/jpeg")) for name, data in pictures]


def test_a_picture_is_answered_as_the_model_answers_it(trained, open_page, photograph):
    owl = photograph("owl")
    said = open_page().post("/api/predict", files=sent(("a.jpg", owl)), data={"coverage": 0.6, "top_k": 2})
    assert said.status_code == 200, said.text
    bundle = read_bundle(fetch_model("models:/birds@champion") / "artifacts" / "served")
    (expected,) = answer(bundle, [owl], Wanted(2, 0.6))
    found = said.json()
    assert (found["model"], found["checkpoint"]) == ("birds/1", "best")
    assert found["answers"][0] == {"files": ["a.jpg"]} | json.loads(json.dumps(expected.to_dict())) | {
        "probability": pytest.approx(expected.probability, rel=1e-5),
        "top_k": [{"label": label, "probability": pytest.approx(share, rel=1e-4)} for label, share in expected.top_k],
    }
    assert found["answers"][0]["taxonomy"]["common_name_es"] == "Cárabo común"


def test_several_pictures_are_answered_in_their_order_or_as_one(trained, open_page, photograph):
    page = open_page()
    pictures = [(f"{number}.jpg", photograph(name)) for number, name in enumerate(["owl", "wren", EVIL, "owl", "wren"])]
    apart = page.post("/api/predict", files=sent(*pictures)).json()["answers"]
    assert [one["label"] for one in apart] == ["owl", "wren", EVIL, "owl", "wren"]
    (one,) = page.post("/api/predict", files=sent(*pictures[:2]), data={"together": "true"}).json()["answers"]
    assert one["files"] == ["0.jpg", "1.jpg"]
    mean = {
        label: sum({each["label"]: each["probability"] for each in some["top_k"]}[label] for some in apart[:2]) / 2
        for label in ("owl", "wren")
    }
    found = {each["label"]: each["probability"] for each in one["top_k"]}
    assert found["owl"] == pytest.approx(mean["owl"], rel=1e-4)
    assert found["wren"] == pytest.approx(mean["wren"], rel=1e-4)


def test_a_training_promises_ranks_by_its_own_taxonomy(trained, asked_about, settings, monkeypatch):
    given = []
    monkeypatch.setattr(models, "calibrated_on", lambda *of: given.append(of[1]) or calibrated_on(*of))
    own = Models(settings())
    run_id = own.find("birds@champion").run_id
    ready = own.asked(run_id, None)
    assert ready.bundle.calibration.depths
    assert given[0]["family"].dropna().tolist() == ["Strigidae", "Troglodytidae"]
    assert given[0] is ready.bundle.taxonomy


def test_another_epoch_and_a_training_answer_too(trained, open_page, photograph):
    page, owl = open_page(), photograph("owl")
    listed = page.get("/api/models").json()
    assert [one["registered"] for one in listed] == [True, False]
    assert listed[0]["aliases"] == ["champion"]
    by_version = page.post("/api/predict", files=sent(("a.jpg", owl))).json()
    by_run = page.post("/api/predict", files=sent(("a.jpg", owl)), data={"model": listed[1]["address"]}).json()
    assert by_run["answers"][0]["probability"] == pytest.approx(by_version["answers"][0]["probability"], rel=1e-5)
    first = page.post("/api/predict", files=sent(("a.jpg", owl)), data={"epoch": 1, "model": "birds@champion"}).json()
    assert first["checkpoint"] == "epoch_1"
    assert first["answers"][0]["probability"] != by_version["answers"][0]["probability"]


def test_a_model_says_what_it_is_and_how_good(trained, open_page):
    found = open_page().get("/api/models/birds/1").json()
    assert found["classes"] == [EVIL, "owl", "wren"]
    assert found["checkpoints"] == ["best", "epoch_1"]
    test, val = found["figures"]
    assert (test["split"], val["split"]) == ("test", "val")
    accuracy = test["shares"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert str(trained) not in json.dumps(found)


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        ({"model": "cats@champion"}, 404, "there is no model cats@champion"),
        ({"model": "birds/99"}, 404, "there is no model"),
        ({"model": "models:/birds/../../etc/1"}, 404, "there is no model"),
        ({"model": "/etc/passwd"}, 404, "there is no model"),
        ({"model": "file:///etc/passwd"}, 404, "there is no model"),
        ({"model": "runs:/" + "0" * 32}, 404, "there is no model"),
        ({"epoch": 77}, 404, "kept no weights epoch_77"),
        ({"top_k": 0}, 422, "top_k"),
        ({"coverage": 0.999}, 400, "cannot be promised"),
        ({"facts": "{"}, 400, "facts: that is no JSON"),
        ({"facts": "[]"}, 400, "facts: 0 for 1 pictures"),
        ({"facts": '{"depth": [1]}'}, 400, "facts: say"),
        ({"urls": "http://127.0.0.1:1/a.jpg"}, 400, "is not among the servers"),
        ({"urls": "file:///etc/passwd"}, 400, "is not among the servers"),
    ],
)
def test_what_cannot_be_is_one_line(data, status, said, trained, open_page, photograph):
    found = open_page().post("/api/predict", files=sent(("a.jpg", photograph("owl"))), data=data)
    assert found.status_code == status
    assert said in found.json()["detail"]
    assert "\n" not in found.json()["detail"]


def test_without_a_model_and_without_a_picture(open_page, photograph):
    page = open_page()
    assert page.get("/api/models").json() == []
    said = page.post("/api/predict", files=sent(("a.jpg", photograph("owl"))))
    assert (said.status_code, said.json()["detail"]) == (409, "there is no model yet: train one, and promote it")
    assert page.post("/api/predict").json()["detail"] == "files: send at least one picture"


class Pictures(BaseHTTPRequestHandler):
    """What an allowed server sends."""

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("location", "http://127.0.0.1:1/")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.data if self.path == "/owl.jpg" else bytes(9 * 2**20))

    def log_message(self, *_):
        pass


def test_addresses_are_fetched_from_allowed_servers_alone(trained, open_page, photograph):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    server.data = photograph("owl")
    threading.Thread(target=server.serve_forever).start()
    try:
        host = f"127.0.0.1:{server.server_port}"
        page = open_page(allowed_hosts=[host])
        said = page.post("/api/predict", data={"urls": f"http://{host}/owl.jpg"}).json()
        assert (said["answers"][0]["label"], said["answers"][0]["files"]) == ("owl", ["owl.jpg"])
        for address in (
            f"http://{host}/away",
            f"http://{host}@127.0.0.1:1/",
            f"http://{host}.evil.example/",
            "http://[",
        ):
            assert page.post("/api/predict", data={"urls": address}).status_code == 400, address
        assert page.post("/api/predict", data={"urls": f"http://{host}/large"}).status_code == 413
    finally:
        server.shutdown()
        server.server_close()


def test_programs_ask_at_the_same_time_with_the_password(trained, served, photograph):
    with served(password="nightjar") as address:
        own = {"authorization": "Bearer nightjar"}
        assert requests.get(f"{address}/api/models", timeout=60).status_code == 401

        def ask(name):
            files = [("files", (f"{n}.jpg", photograph(name, seed=n))) for n in range(6)]
            return requests.post(f"{address}/api/predict", files=files, headers=own, timeout=60).json()

        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(ask, ["owl", "wren", EVIL, "owl"] * 2))
    assert [{one["label"] for one in each["answers"]} for each in said] == [{"owl"}, {"wren"}, {EVIL}, {"owl"}] * 2
