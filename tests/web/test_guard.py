import pytest

from pipeline.web.guard import SECURITY, Door
from pipeline.web.refusal import Refused

ELSEWHERE = {"origin": "https://evil.example"}


def test_without_a_password_only_this_machines_own_names_are_served(open_page):
    page = open_page()
    assert page.get("/docs", headers={"host": "localhost:7860"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:7860", "", "[", "192.168.1.7"):
        assert page.get("/docs", headers={"host": host}).status_code in (400, 421), host
    assert page.get("/api/health", headers={"host": "evil.example"}).json() == {
        "detail": "this server answers to 127.0.0.1 and localhost alone"
    }


def test_a_page_of_another_server_changes_nothing(open_page):
    page = open_page()
    for headers in (
        ELSEWHERE,
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert page.post("/leave", headers=headers).status_code == 403, headers
    assert page.get("/docs", headers=ELSEWHERE).status_code == 200  # a link from elsewhere
    own = {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}
    assert page.post("/leave", headers=own, follow_redirects=False).status_code == 303
    html = page.post(
        "/identify", headers={"accept": "text/html"}
    ).text  # a page that cannot be asked for by its address
    assert 'href="/?lang=es"' in html


def test_the_password_opens_pages_by_a_form_and_rest_by_a_header(open_page):
    page = open_page(password="nightjar ñ")
    assert page.get("/docs").url.path == "/enter"
    assert page.get("/api/openapi.json").status_code == 401
    assert page.get("/api/openapi.json", headers={"authorization": "Bearer wrong"}).status_code == 401
    sent = {"authorization": b"Bearer " + "nightjar ñ".encode()}
    assert page.get("/api/openapi.json", headers=sent).status_code == 200
    assert "That is not the password" in page.post("/enter", data={"password": "owl"}).text
    assert page.get("/docs").url.path == "/enter"
    page.post("/enter", data={"password": "nightjar ñ"})
    assert page.get("/docs").url.path == "/docs"
    page.post("/leave")
    assert page.get("/docs").url.path == "/enter"


def test_a_cookie_made_by_somebody_else_opens_nothing(open_page):
    page = open_page(password="nightjar")
    page.cookies.set("pipeline_7860", "eyJpbiI6IHRydWV9.aaaa.bbbb")
    assert page.get("/docs").url.path == "/enter"


def test_who_tries_passwords_has_to_wait(open_page):
    page = open_page(password="nightjar")
    said = [page.post("/enter", data={"password": f"try {n}"}).status_code for n in range(12)]
    assert said[0] == 401
    assert said[-1] == 429
    assert page.get("/api/openapi.json", headers={"authorization": "Bearer nightjar"}).status_code == 429


def test_who_tries_passwords_from_many_addresses_has_to_wait_too():
    door = Door("nightjar")
    for n in range(100):
        assert not door.opens_to(f"try {n}", f"10.0.0.{n}")
    with pytest.raises(Refused):
        door.opens_to("nightjar", "10.0.1.1")


def test_an_address_may_ask_so_often(open_page):
    page = open_page(limits={"requests": 20})
    said = [page.get("/api/health") for _ in range(25)]
    assert said[0].status_code == 200
    assert said[-1].status_code == 429
    assert said[-1].headers["retry-after"] == "5"


def test_a_request_that_is_too_large_is_not_read(open_page):
    page = open_page(limits={"request_mb": 1})
    assert page.post("/enter", content=bytes(2**20 + 1)).status_code == 413
    pieces = (bytes(2**18) for _ in range(5))  # without a length
    said = page.post("/enter", content=pieces, headers={"content-type": "multipart/form-data; boundary=x"})
    assert said.status_code in (400, 413)


def test_every_answer_says_what_a_browser_may_do_with_it(open_page):
    page = open_page()
    cookie = page.get("/docs").headers["set-cookie"].lower()
    for path in ("/docs", "/nothing", "/static/app.css", "/api/health"):
        headers = page.get(path).headers
        wanted = SECURITY | ({"cache-control": "no-cache"} if path.startswith("/static") else {})
        assert {name: headers[name] for name in SECURITY} == wanted, path
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
