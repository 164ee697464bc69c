"""The system's Chromium, driven by Playwright, and axe run in it."""

import os
import shutil
from contextlib import contextmanager

import pytest

_SERIOUS = ("serious", "critical")


def program():
    """Where Chromium is; without it the test is skipped, but for CI, where it fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    reason = "there is no Chromium here (apt-get install chromium)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def browser():
    """A browser that lives as long as this lasts."""
    where = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root, as CI is, may not have Chromium's own sandbox; the pages are ours.
        opened = playwright.chromium.launch(executable_path=where, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            opened.close()


def serious(page):
    """What axe finds on a page that matters, as `rule: element` lines; its script is let past the page's own rules."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}" for rule in found if rule["impact"] in _SERIOUS for node in rule["nodes"]
    ]
