"""The page where pictures are named, as a browser without scripts asks for it, and as hostile ones do."""

import io
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipeline.evaluation import lapse
from pipeline.web.asking import names_in
from pipeline.web.uploads import shown_name

EVIL = "<img src=x onerror=alert(1)>"
PART = {"x-part": "1", "accept": "*/*"}
HTML = {"accept": "text/html"}


def sent(*pictures):
    return [("files", (name, data, "image/jpeg")) for name, data in pictures]


def tokens(html):
    return re.findall(r'data-token="([\w-]+)"', html)


def table(page, name="answers"):
    said = page.get(f"/identify/{name}.csv")
    assert said.headers["content-type"].startswith("text/csv")
    return pd.read_csv(io.BytesIO(said.content))


def test_pictures_are_named_by_a_plain_form(trained, open_page, photograph):
    page = open_page()
    assert "What is on these pictures?" in page.get("/").text
    html = page.post("/identify", files=sent(("a.jpg", photograph("owl")), ("b.jpg", photograph("wren")))).text
    assert html.index("<bdi>Wren</bdi>") < html.index("<bdi>Tawny Owl</bdi>")  # the newest first
    assert '<i lang="la">Strix aluco</i>' in html
    assert "https://www.gbif.org/species/search?q=Strix%20aluco" in html
    assert "Cárabo común" in page.get("/?lang=es").text
    small = page.get(re.search(r'src="(/pictures/[\w-]+)"', html)[1])
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(small.content)).size == (64, 48)


def test_of_many_pictures_those_that_cannot_be_read_are_named_and_the_others_answered(trained, open_page, photograph):
    page, good = open_page(), photograph("owl")
    many = sent(("a.jpg", good), ("b.jpg", b"broken"), ("c.jpg", good), ("d.jpg", b""))
    shown = page.post("/identify", files=many, headers=HTML)
    assert shown.status_code == 400
    assert re.search(r'role="alert".*b\.jpg: is not a picture.*; d\.jpg: is empty', shown.text)
    assert list(table(page)["picture"]) == ["c.jpg", "a.jpg"]


def test_several_pictures_of_one_specimen_have_one_answer(trained, open_page, photograph):
    page = open_page()
    two = sent(("a.jpg", photograph("owl")), ("b.jpg", photograph("owl", seed=8)))
    html = page.post("/identify", files=two, data={"together": "true"}, headers=PART).text
    assert len(tokens(html)) == 1
    assert html.count('src="/pictures/') == 2
    assert list(table(page)["picture"]) == ["a.jpg; b.jpg"]


def test_what_is_put_right_is_in_the_tables(trained, open_page, photograph):
    page = open_page()
    three = sent(*[(f"{number}.jpg", photograph(name)) for number, name in enumerate(["owl", "wren", "owl"])])
    owl, wren, other = tokens(page.post("/identify", files=three, headers=PART).text)
    html = page.post(f"/identify/{wren}", data={"label": " owl "}, headers=PART).text
    assert "Corrected by you" in html
    assert '<bdi>Tawny Owl</bdi> <i lang="la">Strix aluco</i></h3>' in html
    assert "q=Strix%20aluco" in html
    assert "Troglodyt" not in html.partition("<details>")[2]
    assert '<dd><span lang="la">Strigidae</span></dd>' in html
    by_name = page.post(f"/identify/{wren}", data={"label": "cárabo COMÚN"}, headers=PART).text
    assert 'name="label" value="owl"' in by_name
    page.post(f"/identify/{owl}", data={"do": "right"})
    page.post(f"/identify/{other}", data={"label": "a species that the model does not know"})
    found = table(page).set_index("picture")
    assert found["label"].to_dict() == {"0.jpg": "owl", "1.jpg": "wren", "2.jpg": "owl"}
    assert found["corrected"].fillna("").to_dict() == {
        "0.jpg": "", "1.jpg": "owl", "2.jpg": "a species that the model does not know",
    }  # fmt: skip
    assert (found["checked"] == "yes").all()
    terms = table(page, "darwin_core").set_index("associatedMedia")
    assert terms["scientificName"].to_dict() == {
        "0.jpg": "Strix aluco", "1.jpg": "Strix aluco", "2.jpg": "a species that the model does not know",
    }  # fmt: skip
    assert terms["identifiedBy"].fillna("").to_dict() == {"0.jpg": "birds/1", "1.jpg": "", "2.jpg": ""}
    assert (terms["identificationVerificationStatus"] == "verified").all()
    page.post(f"/identify/{other}", data={"do": "remove"})
    assert list(table(page)["picture"])[::-1] == ["0.jpg", "1.jpg"]
    page.post("/identify/clear")
    assert tokens(page.get("/").text) == []


def test_what_is_known_beside_the_picture_is_asked_for_and_heeded(trained, open_page, photograph):
    page = open_page()
    html = page.get("/").text
    assert re.search(r'<select[^>]*name="fact:site"><option value="">not known</option><option>north</option>', html)
    assert re.search(r'<input[^>]*name="fact:depth" inputmode="decimal"', html)
    one, known = sent(("a.jpg", photograph("owl"))), {"fact:site": "north", "fact:depth": "6,5", "fact:nothing": "x"}
    assert "<dt>depth</dt><dd>6.5</dd>" in page.post("/identify", files=one, data=known, headers=PART).text
    assert table(page).loc[0, ["site", "depth"]].tolist() == ["north", 6.5]
    said = page.post("/identify", files=one, data={"fact:depth": "deep"}, headers=PART)
    assert said.status_code == 400
    assert said.json()["detail"].startswith("a.jpg: depth is 'deep', no number")
    shares = [
        page.post("/api/predict", files=one, data={"facts": facts}).json()["answers"][0]["top_k"]
        for facts in ("{}", '{"site": "north", "depth": 11}', '[{"site": "north", "depth": 11.0}]')
    ]
    assert shares[0] != shares[1] == shares[2]


def test_not_sure_is_said(trained, open_page, photograph):
    two = sent(("a.jpg", photograph("owl")), ("b.jpg", photograph("wren")))
    html = open_page().post("/identify", files=two, data={"sure": 1, "together": "true"}, headers=PART).text
    assert "Not sure" in html
    assert "perhaps <bdi>" in html
    assert "Less likely than 100\N{NO-BREAK SPACE}%." in html


def test_another_model_is_asked_again(trained, open_page, photograph):
    page = open_page()
    (token,) = tokens(page.post("/identify", files=sent(("a.jpg", photograph("owl"))), headers=PART).text)
    page.post(f"/identify/{token}", data={"do": "right"})
    asked = {"model": "birds/1", "checkpoint": "epoch_1"}
    assert "birds/1 epoch_1" in page.post(f"/identify/{token}/again", data=asked, headers=PART).text
    assert table(page).loc[0, ["model", "checked"]].tolist() == ["birds/1 epoch_1", "yes"]
    assert '<option value="epoch_1" selected>' in page.get("/?model=birds/1&checkpoint=epoch_1").text


def test_the_most_similar_training_pictures_are_of_the_answer_and_the_runner_up(trained, open_page, photograph):
    page = open_page()
    (token,) = tokens(page.post("/identify", files=sent(("a.jpg", photograph("owl"))), headers=PART).text)
    html = page.get(f"/identify/{token}/alike", headers=PART).text
    while "being looked at" in html:
        html = page.get(f"/identify/{token}/alike", headers=PART).text
    assert "Most similar training pictures of <bdi>Tawny Owl</bdi>" in html
    assert html.count("<img") == 8
    assert EVIL not in html
    whole = page.get(f"/identify/{token}/alike", headers=HTML)
    assert "<title>Similar training pictures</title>" in whole.text


def test_two_visitors_do_not_see_each_others_pictures(trained, open_page, photograph):
    one = open_page()
    other = TestClient(one.app, base_url=str(one.base_url))  # the same server, another browser
    html = one.post("/identify", files=sent(("mine.jpg", photograph("owl"))), headers=PART).text
    (token,), picture = tokens(html), re.search(r"/pictures/[\w-]+", html)[0]
    assert "mine.jpg" in one.get("/").text
    assert "mine.jpg" not in other.get("/").text
    for asked in (other.get(picture), other.get(f"/identify/{token}/alike"), other.post(f"/identify/{token}")):
        assert asked.status_code == 404
    assert other.post(f"/identify/{token}", data={"do": "remove"}).status_code == 404
    assert other.get("/identify/answers.csv").content.strip(b"\xef\xbb\xbf\n") == b""
    assert other.post("/identify/clear").status_code == 200
    assert one.get(picture).status_code == 200


def test_names_are_shown_as_text_and_never_used(trained, open_page, photograph, tmp_path):
    page = open_page()
    names = [
        "<script>alert(1)</script>.jpg",
        "../../../tmp/x.jpg",
        "..\\x.jpg",
        "=cmd|' /C calc'!A0.jpg",
        "a\u202egpj.exe",
    ]
    html = page.post("/identify", files=sent(*[(name, photograph(EVIL)) for name in names]), headers=PART).text
    assert "<script" not in html
    assert "onerror=alert(1)>" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert not (tmp_path.parent / "x.jpg").exists()
    folder = page.app.state.site.visits._folder
    kept = [file.name for file in folder.rglob("*") if file.is_file()]
    assert len(kept) == 2 * len(names)
    assert all(re.fullmatch(r"[\w-]{22}\.(picture|jpg)", name) for name in kept)
    assert sorted(table(page)["picture"])[0] == "'=cmd|' /C calc'!A0.jpg" or "C calc'!A0.jpg" in set(
        table(page)["picture"]
    )
    (token, *_) = tokens(html)
    again = page.post(f"/identify/{token}", data={"label": "<script>alert(2)</script>"}, headers=PART).text
    assert "<script" not in again
    assert "<script>alert" not in page.get("/").text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a/b\\c.jpg", "c.jpg"),
        ("\0\u202e", "picture"),
        ("", "picture"),
        ("x" * 300, "x" * 150),
        ("ñandú.jpg", "ñandú.jpg"),
    ],
)
def test_a_name_to_show(given, shown):
    assert shown_name(given) == shown


def bomb():
    """A PNG of a few kilobytes that would be 900 megapixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9000))) + chunk(b"IEND", b"")
    )


def large():
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((5000, 5000), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("empty.jpg", b"", 400),
        ("page.jpg", b"<html><script>alert(1)</script></html>", 400),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', 400),
        ("cut.jpg", None, 400),
        ("bomb.png", bomb(), 400),
        ("large.png", large(), 413),
        ("archive.jpg", b"PK\x03\x04" + bytes(1000), 400),
        ("text.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n", 400),
    ],
)
def test_hostile_pictures_are_refused_and_leave_nothing(name, data, status, trained, open_page, photograph):
    page = open_page()
    data = photograph("owl")[:200] if data is None else data
    said = page.post("/identify", files=sent((name, data)), headers=PART)
    assert said.status_code == status, said.text
    assert name in said.json()["detail"] or not data
    assert tokens(page.get("/").text) == []
    assert not list(page.app.state.site.visits._folder.rglob("*.picture"))
    shown = page.post("/identify", files=sent((name, data)), headers=HTML)
    assert shown.status_code == status
    assert 'role="alert"' in shown.text
    assert "<script>alert" not in shown.text
    assert page.get("/api/health").status_code == 200


def test_what_a_visitor_may_keep_is_bounded_and_goes(trained, open_page, photograph):
    page = open_page(limits={"pictures": 2, "visitors": 1})
    visits = page.app.state.site.visits
    three = sent(*[(f"{number}.jpg", photograph("owl")) for number in range(3)])
    assert page.post("/identify", files=three, headers=PART).status_code == 413
    assert page.post("/identify", files=three[:2], headers=PART).status_code in (200, 413)
    other = TestClient(page.app, base_url=str(page.base_url))
    assert other.post("/identify", files=three[:1], headers=PART).status_code == 503
    (visit,) = visits._visits.values()
    assert list(visit.folder.iterdir())
    visit.at -= 61 * 60
    visits.forget_idle()
    assert not visit.folder.exists()
    assert other.post("/identify", files=three[:1], headers=PART).status_code == 200
    page.__exit__(None, None, None)
    assert not visits._folder.exists()


def test_programs_without_a_cookie_do_not_fill_the_places(trained, open_page, photograph):
    page = open_page(limits={"visitors": 2})
    visits, one = page.app.state.site.visits, sent(("a.jpg", photograph("owl")))
    page.post("/identify", files=one)  # and shows the answer
    TestClient(page.app, base_url=str(page.base_url)).post("/identify", files=one, headers=PART)
    other = TestClient(page.app, base_url=str(page.base_url))
    assert other.post("/identify", files=one, headers=PART).status_code == 503
    for visit in visits._visits.values():
        visit.at -= 3 * 60
    assert other.post("/identify", files=one, headers=PART).status_code == 200
    assert list(table(page)["picture"]) == ["a.jpg"]


def test_an_error_is_told_in_the_visitors_language_with_the_programs_own_words(trained, open_page):
    page = open_page()
    page.get("/?lang=es")
    one = sent(("b.jpg", b"broken"))
    html = page.post("/identify", files=one, headers=HTML).text
    assert 'Una foto no se puede leer: <span lang="en">b.jpg: is not a picture' in html
    assert page.post("/identify", files=one, headers=PART).json()["kind"] == "Una foto no se puede leer"
    assert "Elija al menos una foto." in page.post("/identify", headers=HTML).text
    assert "<h1>Eso no está aquí (o ya no está)</h1>" in page.get("/pictures/none", headers=HTML).text


def test_what_is_deleted_while_it_is_looked_at_is_not_kept(trained, open_page, photograph):
    page = open_page()
    page.get("/")
    visits, answering = page.app.state.site.visits, page.app.state.site.answering
    asked = answering.answers

    async def meanwhile(*given, **named):
        for visitor in list(visits._visits):
            visits.forget(visitor)
        return await asked(*given, **named)

    answering.answers = meanwhile
    assert page.post("/identify", files=sent(("a.jpg", photograph("owl"))), headers=PART).status_code == 410
    assert not list(visits._folder.rglob("*"))


def test_a_form_of_another_server_is_refused(trained, open_page, photograph):
    page, elsewhere = open_page(), {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    page.get("/")
    for path in ("/identify", "/identify/clear", "/api/predict"):
        assert page.post(path, files=sent(("a.jpg", photograph("owl"))), headers=elsewhere).status_code == 403


def test_without_a_model_the_page_says_what_to_do(open_page):
    html = open_page().get("/").text
    assert "There is no model yet" in html
    assert 'href="/train"' in html


def test_only_what_lives_somewhere_can_be_the_answer(trained, open_page, photograph):
    page, one = open_page(), sent(("a.jpg", photograph("owl")))
    assert "any of the 3 that the model knows" in page.get("/").text
    html = page.post("/identify", files=one, data={"only": "Troglodytidae;\n"}, headers=PART).text
    assert re.search(r"<h3>.*<bdi>Wren</bdi>", html)
    assert "Without the list of what can be: <bdi>Tawny Owl</bdi>" in re.sub(r"</?strong>", "", html)
    (token,) = tokens(html)
    assert "<bdi>Wren</bdi>" in page.post(f"/identify/{token}/why", headers=PART).text  # the list stays
    places = b"region,species\nMadeira,Troglodytes troglodytes\nAzores,Strix aluco\n"
    table_sent = [*one, ("places", ("where.csv", places, "text/csv"))]
    html = page.post("/identify", files=table_sent, data={"region": "Madeira"}, headers=PART).text
    assert re.search(r"<h3>.*<bdi>Wren</bdi>", html)
    for data, files, said in (
        ({"only": "dodo"}, one, "only: the model knows no class and no taxon dodo"),
        ({"region": "Madera"}, table_sent, "where.csv has no region Madera; did you mean Madeira?"),
        ({"region": "Madeira"}, one, "region: send a table of regions"),
    ):
        refused = page.post("/identify", files=files, data=data, headers=PART)
        assert (refused.status_code, said in refused.json()["detail"]) == (400, True), refused.text
    assert names_in("a, b\nStrix aluco, Linnaeus;\nStrix aluco, Linnaeus\n", {"strix aluco, linnaeus"}) == [
        "a", "b", "Strix aluco", "Linnaeus", "Strix aluco, Linnaeus",
    ]  # fmt: skip
    rest = page.post("/api/predict", files=one, data={"only": ["Troglodytidae"]}).json()
    assert rest["answers"][0]["label"] == "wren"
    assert page.post("/api/predict", files=one, data={"only": "dodo"}).status_code == 400


def test_many_answers_say_how_many_there_are_and_that_pictures_differ(trained, open_page, photograph, monkeypatch):
    monkeypatch.setattr(lapse, "LEAST", 15)  # there are 18 of val
    page = open_page()
    assert "There is nothing to count" in page.get("/identify/counts").text
    # Alike, and all of one kind: no 24 pictures of val are so.
    many = sent(*[(f"{number}.jpg", photograph("owl", seed=100 + number)) for number in range(24)])
    html = page.post("/identify", files=many, follow_redirects=True).text
    assert "These pictures differ from those on which the model was checked" in html
    assert "se diferencian" in page.get("/identify/together?lang=es").text
    assert page.get("/identify/counts?lang=en").text.count("<tr>") >= 2
    found = pd.read_csv(io.BytesIO(page.get("/identify/counts.csv").content)).set_index("label")
    assert found["answers"].sum() == 24 - table(page)["unknown"].sum()
    corrected = tokens(html)[0]
    page.post(f"/identify/{corrected}", data={"label": "wren"})
    again = pd.read_csv(io.BytesIO(page.get("/identify/counts.csv").content)).set_index("label")
    assert again.loc["wren", "answers"] >= 1
    # Unknown but for what a person says of it, by a model that has left memory since.
    (visit,) = page.app.state.site.visits._visits.values()
    for number, one in enumerate(visit.all()):
        one.part, one.checked = replace(one.part, probabilities=None), number < 20
    page.app.state.site.models._ready.clear()
    page.post("/identify", files=many[:1])
    again = pd.read_csv(io.BytesIO(page.get("/identify/counts.csv").content)).set_index("label")
    assert again["answers"].sum() == 20 + (not visit.all()[0].answer.unknown)
    rest = page.post("/api/predict", files=many, data={"counts": "true"}).json()
    assert rest["differs"]["p"] < 0.02
    assert sum(row["answers"] for row in rest["counts"]) == found["answers"].sum()
    alone = page.post("/api/predict", files=many[:1]).json()
    assert (alone["differs"], alone["counts"]) == (None, None)
