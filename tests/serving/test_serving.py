"""The served model in this process: what it takes, what it answers, what it refuses."""

import base64
import io
import json

import mlflow.exceptions
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.data.preprocessing import Preprocessing
from pipeline.errors import BadInput
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.serving.answers import answer
from pipeline.serving.bundle import read_bundle, write_bundle
from pipeline.serving.pyfunc import ServedModel
from pipeline.training.checkpoints import NetworkFacts, load_best, save_best

CLASSES = ("cat", "dog", "owl")
TAXONOMY = pd.DataFrame({"genus": ["Felis", "Canis", None]}, index=list(CLASSES))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two networks of the same classes and one of others."""
    folders = []
    for seed, classes in enumerate((CLASSES, CLASSES, ("owl", "dog", "cat"))):
        torch.manual_seed(seed)
        network = Classifier(NetworkSpec("torchvision/squeezenet1_0", 3, Preprocessing(image_size=32)))
        folders.append(tmp_path_factory.mktemp("checkpoints"))
        taxonomy = TAXONOMY if classes == CLASSES else None
        save_best(folders[-1], network, NetworkFacts(network.spec, classes, taxonomy))
    return folders


@pytest.fixture(scope="module")
def served(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_bundle(folder, checkpoints[:1])
    return folder


@pytest.fixture(scope="module")
def model(served):
    class Context:
        artifacts = {"served": str(served)}  # noqa: RUF012

    made = ServedModel()
    made.load_context(Context())
    return made


@pytest.fixture(scope="module")
def picture():
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_answer_is_what_the_network_says(checkpoints, served, picture, tmp_path):
    network, facts = load_best(checkpoints[0])
    with torch.no_grad():
        expected = network(facts.spec.preprocessing.read(picture)[None]).softmax(1)[0]
    (said,) = answer(read_bundle(served), [picture], top_k=3)
    assert said["label"] == CLASSES[expected.argmax()]
    assert said["probability"] == pytest.approx(expected.max().item())
    assert {one["label"]: one["probability"] for one in said["top_k"]} == pytest.approx(
        dict(zip(CLASSES, expected.tolist(), strict=True))
    )
    file = tmp_path / "p.png"
    file.write_bytes(picture)
    assert answer(read_bundle(served), [file], top_k=3) == [said]


def test_the_taxonomy_comes_with_the_answer_without_empty_ranks(served, picture):
    bundle = read_bundle(served)
    for number, name in enumerate(CLASSES):
        bundle.members[0].network.head[-1].bias.data = 1000.0 * torch.eye(3)[number]
        (said,) = answer(bundle, [picture])
        assert said["label"] == name
        assert said.get("taxonomy") == (None if name == "owl" else {"genus": TAXONOMY.genus[name]})


def test_many_pictures_are_answered_in_their_order(model, picture):
    other = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(other, "JPEG")
    pictures = [picture if number % 3 else other.getvalue() for number in range(40)]
    answers = model.predict(None, pd.DataFrame({"image": pictures}))
    for number, said in enumerate(answers):
        assert said["probability"] == pytest.approx(answers[number % 3 and 1]["probability"], rel=1e-4)


def test_bytes_base64_and_data_uris_are_the_same_picture(model, picture):
    text = base64.b64encode(picture).decode()
    forms = [
        pd.DataFrame({"image": [picture]}),
        pd.DataFrame({"image": [text]}),
        pd.DataFrame({"image": [f"data:image/png;base64,{text}"]}),
        {"image": [text.encode()]},
        [picture],
    ]
    answers = [model.predict(None, form) for form in forms]
    assert all(said == answers[0] for said in answers)
    json.dumps(answers[0])


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (99, 3)])
def test_top_k(asked, given, model, picture):
    (said,) = model.predict(None, [picture], {"top_k": asked})
    assert len(said["top_k"]) == given
    probabilities = [one["probability"] for one in said["top_k"]]
    assert probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize(
    ("sent", "params", "said"),
    [
        ([b"no picture at all"], {}, "picture 0"),
        (["%%%"], {}, "picture 0"),
        ([b""], {}, "picture 0"),
        ([3.5], {}, "picture 0 is neither bytes nor base64 text"),
        (pd.DataFrame({"picture": [b""]}), {}, "the column image is missing"),
        ([], {"top_k": 0}, "top_k=0: at least 1"),
    ],
)
def test_a_senders_mistake_is_one_line_and_no_trace(sent, params, said, model, served):
    with pytest.raises(mlflow.exceptions.MlflowException, match=said) as caught:
        model.predict(None, sent, params)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert str(served) not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_place_of_the_bad_picture_is_told_beyond_a_batch(model, picture):
    with pytest.raises(mlflow.exceptions.MlflowException, match="picture 20"):
        model.predict(None, [picture] * 20 + [b"bad"])


def test_several_networks_answer_with_their_weighted_mean(checkpoints, picture, tmp_path):
    def probabilities(folders, weights=None):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_bundle(folder, folders, weights)
        (said,) = answer(read_bundle(folder), [picture], top_k=3)
        return {one["label"]: one["probability"] for one in said["top_k"]}

    first, second = probabilities(checkpoints[:1]), probabilities(checkpoints[1:2])
    mixed = probabilities(checkpoints[:2], [0.25, 0.75])
    assert mixed == pytest.approx({name: 0.25 * first[name] + 0.75 * second[name] for name in CLASSES})


def test_networks_of_other_classes_are_not_mixed(checkpoints, tmp_path):
    with pytest.raises(BadInput, match="knows other classes, or in another order"):
        write_bundle(tmp_path, checkpoints)


def test_a_model_of_another_version_or_a_damaged_one_is_refused(checkpoints, tmp_path):
    write_bundle(tmp_path, checkpoints[:1])
    file = tmp_path / "model.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps(plain | {"format_version": 7}))
    with pytest.raises(BadInput, match="format_version 7; this version reads 1"):
        read_bundle(tmp_path)
    file.write_text(file.read_text()[:40])
    with pytest.raises(BadInput, match="missing or no JSON"):
        read_bundle(tmp_path)
