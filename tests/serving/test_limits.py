"""What one request may ask for, and how little refusing more costs."""

import base64
import io
import sys
import time

import mlflow.exceptions
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.reading.decoding import decode, pixels_to_decode
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.serving.asking import answer
from pipeline.serving.bundle import read_bundle, write_bundle
from pipeline.serving.limits import Limits, share_processors
from pipeline.serving.pyfunc import ServedModel


def encoded(width, height, kind="PNG", mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    network = Classifier(NetworkSpec("torchvision/squeezenet1_0", 2, Preprocessing(image_size=32)))
    checkpoints, folder = tmp_path_factory.mktemp("checkpoints"), tmp_path_factory.mktemp("served")
    save_best(checkpoints, network, NetworkFacts(network.spec, ("auk", "coot")))
    write_bundle(folder, {"one": checkpoints})
    return folder


@pytest.fixture
def model(folder):
    class Context:
        artifacts = {"served": str(folder)}  # noqa: RUF012

    made = ServedModel()
    made.load_context(Context())
    return made


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "JPEG"])
@pytest.mark.parametrize(("width", "height"), [(60, 40), (1500, 1000), (1000, 40)])
def test_pixels_are_counted_as_they_are_decoded(kind, width, height):
    data = encoded(width, height, kind)
    assert pixels_to_decode(data, 32) == decode(data, 32)[..., 0].size


def test_a_progressive_jpeg_is_decoded_whole_and_what_is_no_picture_counts_nothing():
    assert pixels_to_decode(encoded(1500, 1000, "JPEG", progressive=True), 32) == 1_500_000
    assert pixels_to_decode(encoded(1500, 1000, "JPEG"), 32) < 50_000
    for data in (b"", b"no picture", encoded(60, 40)[:20], encoded(60, 40, "GIF")):
        assert pixels_to_decode(data, 32) == 0


def test_a_decompression_bomb_is_refused_by_its_header(model, monkeypatch):
    bomb = encoded(13_000, 13_000, mode="1")
    assert len(bomb) < 30_000
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.data.reading.preprocessing.decode_at", None)  # nothing is decoded for it
        with pytest.raises(mlflow.exceptions.MlflowException, match="picture 1: 169 megapixels to decode, at most 50"):
            model.predict(None, [encoded(9, 9), bomb])
    assert len(answer(model._bundle, [encoded(8_000, 7_000, mode="1")])) == 1  # as `predict` and training read it


def test_a_large_ordinary_jpeg_is_answered(model):
    (said,) = model.predict(None, [encoded(9_000, 7_000, "JPEG")])
    assert said["label"] in ("auk", "coot")


def test_many_pictures_and_many_pixels_in_all_are_refused(model, monkeypatch):
    small, large = encoded(9, 9), encoded(7_000, 7_000, mode="1")
    assert len(model.predict(None, [small] * 256)) == 256
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"^257 pictures in a request: at most 256"):
        model.predict(None, [small] * 257)
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"245 megapixels .* in a request, at most 200"):
        model.predict(None, [large] * 5)


def test_the_server_sets_other_limits(folder, monkeypatch):
    monkeypatch.setenv("PIPELINE_SERVED_PICTURES", "3")
    monkeypatch.setenv("PIPELINE_SERVED_MEGAPIXELS", "1")
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "30")
    assert Limits.from_environment() == Limits(3, 1, 30)
    with pytest.raises(BadInput, match="at most 1 "):
        Limits(3, 1).check_pixels([encoded(2_000, 1_000)], {Preprocessing(32)})
    for wrong in ("0", "-1", "many", "1.5", ""):
        monkeypatch.setenv("PIPELINE_SERVED_PICTURES", wrong)
        with pytest.raises(BadInput, match=f"PIPELINE_SERVED_PICTURES={wrong}: a whole number"):
            Limits.from_environment()


def test_workers_of_one_server_share_the_processors(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for typed in (["uvicorn", "--port", "1", "--workers", "1", "app"], ["pytest"]):
        monkeypatch.setattr(sys, "argv", typed)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        share_processors()
    assert asked == []
    monkeypatch.setattr(sys, "argv", ["uvicorn", "--workers", "3", "app"])
    share_processors()
    assert asked == [2]
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    share_processors()
    assert asked == [2]


def test_work_ends_when_the_asker_has_been_told_that_it_took_too_long(folder):
    bundle, asked = read_bundle(folder), []
    bundle.members[0].register_forward_hook(lambda *_: asked.append(1))
    with pytest.raises(BadInput, match="time ran out after 0 of 40 pictures"):
        answer(bundle, [encoded(9, 9)] * 40, until=time.monotonic() - 1)
    assert not asked


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "svg+xml"])
def test_a_data_address_is_its_picture_in_every_form(model, kind):
    text = base64.b64encode(encoded(9, 9)).decode()
    expected = model.predict(None, [text])
    address = f"data:image/{kind};base64,{text}"
    lines = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for form in ([address], {"image": [address]}, pd.DataFrame({"image": [address]}), [lines], [address.encode()]):
        assert model.predict(None, form) == expected


def test_nothing_asked_for_is_the_default_and_what_is_not_known_is_named(model):
    picture = encoded(9, 9)
    expected = model.predict(None, [picture])
    assert model.predict(None, [picture], {"top_k": None, "coverage": None, "min_probability": None}) == expected
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"no parameter topk; did you mean top_k\?"):
        model.predict(None, [picture], {"topk": 1})
