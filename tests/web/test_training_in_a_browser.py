"""Trainings from a folder to a model in use, in a real browser: one comes to its end, one is stopped and goes on."""

import time

import pytest
from chromium import serious
from mlflow import MlflowClient

from pipeline.web.jobs.queue import Queue

_PATIENCE = 300_000  # milliseconds; each training begins by loading PyTorch
TINY = {"data.image_size": "32", "trainer.batch_size": "8", "optimizer.lr": "0,001", "data.split.val": "0.3"}


@pytest.fixture
def queue(asked_about, trained):
    """The jobs of the server's folder; all are over when the test is."""
    queue = Queue(trained / "mlruns" / "jobs")
    yield queue
    while left := [job for job in queue.jobs() if not job.is_over]:
        for job in left:
            queue.cancel(job.id)
        time.sleep(0.2)


def train(page, epochs):
    """Fill in the form and send it."""
    page.get_by_label("Network", exact=True).select_option("squeezenet")
    page.get_by_label("What learns").select_option("scratch")
    page.get_by_label("Epochs: how often").fill(str(epochs))
    if not page.get_by_label("Side of the pictures").is_visible():
        page.get_by_text("More choices").click()
    for key, value in TINY.items():
        page.locator(f"[id='{key}']").fill(value)
    page.get_by_role("button", name="Start the training").click()


def test_one_training_comes_to_its_end_and_another_is_stopped(served, visit, trained, queue):
    client = MlflowClient()
    before = int(client.get_model_version_by_alias("birds", "champion").version)
    with served(folders=[str(trained / "birds")]) as address:
        page = visit(address)
        page.set_default_timeout(_PATIENCE)
        page.get_by_role("link", name="Data").click()
        page.get_by_role("link", name="birds").first.click()
        page.get_by_text("60 pictures in it and below").wait_for()
        page.get_by_role("button", name="Train on them").click()
        page.get_by_label("Your name").fill("<b>Ana</b>")
        train(page, 0)
        page.get_by_text("it should be from 1 to 1000").first.wait_for()  # what was filled in is still there
        train(page, 2)
        page.get_by_role("heading", name="Training: birds").wait_for()
        first = page.url
        page.get_by_role("link", name="Change something and train again").click()
        train(page, 500)
        page.get_by_text("It waits: one is done after the other").wait_for()
        second = page.url
        assert page.locator("ol li").inner_text() == "training: birds, <b>Ana</b>"

        page.goto(first)
        page.get_by_role("button", name="Put this model to use").click()
        page.get_by_role("link", name="This model is in use").wait_for()
        assert page.locator("figure.curve polyline").count() == 4
        assert int(client.get_model_version_by_alias("birds", "champion").version) == before + 1

        page.goto(second)
        page.locator("#live").get_by_text("of 500").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Go on").wait_for()
        job = queue.job(second.rpartition("/")[2])
        assert (job.state, client.get_run(job.run_id).info.status) == ("cancelled", "KILLED")
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Go on").wait_for()


def test_a_folder_is_looked_at(served, visit, trained, queue):
    with served(folders=[str(trained / "birds")]) as address:
        page = visit(address, locale="es")
        page.goto(f"{address}/data?folder=birds")
        page.set_default_timeout(_PATIENCE)
        page.get_by_role("button", name="Examinar todas las fotos").click()
        page.frame_locator("iframe").get_by_text("60 pictures of 3 classes").wait_for()


@pytest.mark.parametrize("how", [
    {"viewport": {"width": 390, "height": 844}, "locale": "es", "color_scheme": "dark"},
    {"locale": "en", "color_scheme": "light"},
])  # fmt: skip
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(how, served, visit, trained, queue):
    with served(folders=[str(trained / "birds")]) as address:
        page = visit(address, bypass_csp=True, **how)
        jobs = [f"/{'data' if job.kind == 'exploration' else 'train'}/{job.id}" for job in queue.jobs()]
        for path in ("/data", "/data?folder=birds", "/train", "/train?data=folder&data.root=birds&seed=x", *jobs):
            page.goto(address + path)
            for summary in page.locator("summary").all():
                summary.click()
            assert serious(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
