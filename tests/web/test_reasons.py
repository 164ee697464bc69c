"""Why an answer: on the page and by REST; and what an attribute that somebody sets does to it."""

import json

import pytest
import torch
from small_networks import SIGNS, of_attributes
from stored import finished

from pipeline.models.saved import NetworkFacts, read_facts, save_best
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.selection import find_run

PART = {"x-part": "1"}


@pytest.fixture
def page(store, open_page):
    """A visitor of a page over one training, which reads attributes."""
    training(store)
    return open_page()


def training(store, known=SIGNS, **changes):
    """One that reads the attributes that are `known`; gives its id."""
    run = finished(**changes)
    folder = artifact_folder(find_run(store, run), "checkpoints")
    facts, network = read_facts(folder), of_attributes(known)
    torch.nn.init.normal_(network.head.species.linear.weight)
    save_best(folder, network, NetworkFacts(network.spec, facts.classes))
    return run


def sent(photograph):
    return [("files", ("a.jpg", photograph("owl"), "image/jpeg"))]


def test_the_page_says_why_and_an_attribute_set_there_changes_the_answer(page, photograph):
    html = page.post("/identify", files=sent(photograph), headers=PART).text
    assert "Why this answer?" in html
    assert "What spoke" not in html
    token = html.partition('data-token="')[2].partition('"')[0]
    html = page.post(f"/identify/{token}/why", headers=PART).text
    assert "data:image/jpeg;base64," in html
    assert "bill: dagger" in html
    assert "Why this answer?" not in html
    changed = [
        page.post(f"/identify/{token}/why", data={"attribute": name, "value": value}, headers=PART).text
        for name in ("red_wing", "has_bill::dagger", "crest")
        for value in ("yes", "no")
    ]
    assert all("set by you" in one for one in changed)
    assert "Before your look at the attributes:" in "".join(changed)
    row = page.get("/identify/answers.csv").text
    assert "spoke_for" in row
    assert '""crest"": ""no""' in row
    again = page.post(f"/identify/{token}/again", headers=PART).text
    assert "set by you" in again
    for name in ("red_wing", "has_bill::dagger", "crest"):
        html = page.post(f"/identify/{token}/why?lang=es", data={"attribute": name, "value": ""}, headers=PART).text
    assert "indicado por usted" not in html
    assert "Dónde miró el modelo" in html


def test_another_model_is_told_what_it_has_attributes_for(page, store, photograph):
    other = training(store, SIGNS.rename(columns={"crest": "tail"}), seed=1)
    html = page.post("/identify", files=sent(photograph), headers=PART).text
    token = html.partition('data-token="')[2].partition('"')[0]
    for name in ("crest", "red_wing"):
        page.post(f"/identify/{token}/why", data={"attribute": name, "value": "yes"}, headers=PART)
    assert page.post(f"/identify/{token}/again", data={"model": other}, headers=PART).status_code == 200
    row = page.get("/identify/answers.csv").text
    assert '""red_wing"": ""yes""' in row
    assert "crest" not in row.partition("attributes_set")[2]


def test_what_cannot_be_set_is_said_and_nothing_changes(page, photograph):
    html = page.post("/identify", files=sent(photograph), headers=PART).text
    token = html.partition('data-token="')[2].partition('"')[0]
    for filled, said in (
        ({"attribute": "tail", "value": "yes"}, "the model has no attribute tail"),
        ({"attribute": "crest", "value": "7"}, "it takes yes or no, or a share from 0 to 1"),
    ):
        refused = page.post(f"/identify/{token}/why", data=filled, headers=PART)
        assert refused.status_code == 400
        assert said in refused.json()["detail"]
    assert "attributes_set" not in page.get("/identify/answers.csv").text


def test_programs_set_attributes_and_are_told_why(page, photograph):
    plain = page.post("/api/predict", files=sent(photograph)).json()["answers"][0]
    given = {"attributes": json.dumps({"bill: dagger": "yes", "crest": 0.5}), "explain": "true"}
    said = page.post("/api/predict", files=sent(photograph), data=given).json()["answers"][0]
    assert said["top_k"] != plain["top_k"]
    (why,) = said["reasons"]["attributes"]
    assert {one["attribute"] for one in why["for"] + why["against"] if one["by_hand"]} >= {"has_bill::dagger"}
    for attributes, detail in (
        ("{", "attributes: that is no JSON"),
        ('{"tail": 1}', "the model has no attribute tail"),
        ('{"crest": 1, "crest": 0}', "attributes: that is no JSON"),
        ('{"bill: dagger": 1, "has_bill::dagger": 0}', "are one attribute; set it to one value"),
        ('[{"crest": 1}, {"crest": 0}]', "attributes: 2 for 1 pictures"),
    ):
        refused = page.post("/api/predict", files=sent(photograph), data={"attributes": attributes})
        assert refused.status_code == 400
        assert detail in refused.json()["detail"]


def test_a_model_without_attributes_says_so(trained, open_page, photograph):
    page = open_page()
    html = page.post("/identify", files=sent(photograph), headers=PART).text
    token = html.partition('data-token="')[2].partition('"')[0]
    html = page.post(f"/identify/{token}/why", headers=PART).text
    assert "Where the model looked" in html
    assert "does the picture show it?" not in html
    refused = page.post(f"/identify/{token}/why", data={"attribute": "crest", "value": "yes"}, headers=PART)
    assert (refused.status_code, "reads no attributes" in refused.json()["detail"]) == (400, True)
    assert page.post(f"/identify/{token}/why").status_code == 200  # without the script: the page again
