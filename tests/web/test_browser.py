"""The page in a real browser: pictures chosen, dropped and pasted; by keyboard; at phone width; as axe reads it."""

import pytest
from chromium import serious

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def pictures(tmp_path, photograph):
    """Files of photographs, a class each, and one that is none."""
    files = []
    for number, name in enumerate(["owl", "wren", EVIL]):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(photograph(name))
    files.append(tmp_path / "<script>alert(3)<!-- .jpg")
    files[-1].write_bytes(b"no picture")
    return files


def test_pictures_are_named_put_right_and_taken_away(served, visit, pictures):
    with served() as address:
        page = visit(address)
        page.locator("#files").set_input_files(pictures[:3])
        page.get_by_role("button", name="Identify", exact=True).click()
        page.get_by_text("Done: 3. Not readable: 0.").wait_for()
        page.locator("h3", has_text="Tawny Owl").wait_for()
        page.locator("h3", has_text=EVIL).wait_for()  # as text
        owl = page.locator("li.asked", has=page.locator("h3", has_text="Tawny Owl"))
        owl.get_by_label("It shows something else:").fill("wren")
        owl.get_by_role("button", name="Save").click()
        page.get_by_text("Corrected by you").wait_for()
        page.get_by_text("More about this answer").first.click()
        page.get_by_role("link", name="Similar training pictures").first.click()
        page.locator("ul.pictures img").first.wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").click()
        rows = download.value.path().read_text(encoding="utf-8-sig").splitlines()
        assert len(rows) == 4
        assert any(row.startswith("0.jpg,owl,") and ",wren,yes," in row for row in rows)
        page.get_by_role("button", name="Delete all").click()
        page.locator("#results").wait_for(state="hidden")


def test_what_cannot_be_read_is_named_and_the_others_go_on(served, visit, pictures):
    with served() as address:
        page = visit(address, locale="es")
        page.locator("#files").set_input_files(pictures)
        page.get_by_role("button", name="Identificar", exact=True).click()
        page.locator("#failures li", has_text="<script>alert(3)<!-- .jpg").wait_for()
        page.locator("h3", has_text="Cárabo común").wait_for()


def test_who_is_no_longer_known_comes_to_the_door(served, visit, pictures):
    with served(password="nightjar") as address:
        page = visit(address)
        page.locator("[type=password]").fill("nightjar")
        page.keyboard.press("Enter")
        page.locator("#files").set_input_files(pictures[:1])
        page.context.clear_cookies()  # as when the server was started anew
        page.locator("#go").click()
        page.wait_for_url("**/enter")


def test_a_server_that_is_started_anew_is_sent_all_again(served, visit, pictures):
    with served() as address:
        page, asked = visit(address), []

        def killed(route):
            asked.append(route)
            if len(asked) == 3:
                page.context.clear_cookies()  # the new one knows nobody
                route.abort()
            else:
                route.continue_()

        page.route("**/identify", killed)
        page.locator("#files").set_input_files(pictures[:3])
        page.locator("#go").click()
        page.get_by_text("Done: 3.").wait_for()
        assert len(asked) == 6
        assert page.locator("li.asked").count() == 3
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").click()
        assert len(download.value.path().read_text(encoding="utf-8-sig").splitlines()) == 4


def test_pictures_are_dropped_and_pasted(served, visit, photograph):
    give = """(kind, data) => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(data)], kind + ".jpg", { type: "image/jpeg" }));
      document.body.dispatchEvent(kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: files, bubbles: true })
        : new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    with served() as address:
        page = visit(address)
        for kind, name in (("paste", "owl"), ("drop", "wren")):
            page.evaluate(f"([kind, data]) => ({give})(kind, data)", [kind, list(photograph(name))])
            page.locator("li.asked .file", has_text=f"{kind}.jpg").wait_for()
            page.get_by_text("Done: 1.").wait_for()


def test_it_works_by_keyboard_and_without_scripts(served, visit, pictures):
    with served() as address:
        page = visit(address)
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Skip to the content"
        page.locator("#files").set_input_files(pictures[0])
        page.locator("#go").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Done: 1.").wait_for()
        assert page.locator(":focus").get_attribute("id") == "results-title"
        page.get_by_label("It shows something else:").fill("cárabo común")
        page.keyboard.press("Enter")
        page.locator("h3:focus", has_text="Tawny Owl").wait_for()
        page.get_by_role("button", name="Delete", exact=True).focus()
        page.keyboard.press("Enter")
        page.locator("li.asked").wait_for(state="detached")
        assert page.locator(":focus").get_attribute("id") == "content"
        plain = visit(address, java_script_enabled=False)
        plain.locator("#files").set_input_files(pictures[:2])
        plain.locator("#go").click()
        plain.locator("h3", has_text="Tawny Owl").wait_for()
        plain.get_by_role("button", name="It is right").first.click()
        plain.get_by_text("checked by you").wait_for()


@pytest.mark.parametrize("how", [
    {"viewport": {"width": 390, "height": 844}, "locale": "es", "color_scheme": "dark", "has_touch": True},
    {"locale": "en", "color_scheme": "light"},
    {"locale": "es", "color_scheme": "dark"},
])  # fmt: skip
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(how, served, visit, pictures):
    with served() as address:
        page = visit(address, bypass_csp=True, **how)  # so that axe may run in it
        page.locator("#files").set_input_files(pictures[:2])
        page.locator("#go").click()
        page.locator("li.asked").nth(1).wait_for()
        for summary in page.locator("summary").all():
            summary.click()
        for path in ("", "/model", "/docs"):
            if path:
                page.goto(address + path)
            assert serious(page) == [], path or "/"
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path or "/"
