"""The served model in this process: what it takes, what it answers, what it refuses."""

import ast
import base64
import io
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import mlflow.exceptions
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import random_predictions
from PIL import Image
from stored import load_best

from pipeline.common.errors import BadInput
from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.ensembles.rules import SoftVote
from pipeline.evaluation.conformal import SetRule
from pipeline.evaluation.familiar import Familiar
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.serving.answers import Wanted
from pipeline.serving.asking import answer, seen_in
from pipeline.serving.bundle import read_bundle, write_bundle
from pipeline.serving.calibration import Calibration
from pipeline.serving.known import Known
from pipeline.serving.pyfunc import ServedModel
from pipeline.serving.seen import as_one
from pipeline.tracking import registry

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
    write_bundle(folder, {"one": checkpoints[0]})
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


def test_an_answer_is_what_the_network_says(checkpoints, served, picture):
    network, facts = load_best(checkpoints[0])
    with torch.no_grad():
        expected = network(Inputs(facts.spec.preprocessing.read(picture)[None])).softmax(1)[0]
    said = answer(read_bundle(served), [picture], Wanted(3))[0].to_dict()
    assert said["label"] == CLASSES[expected.argmax()]
    assert said["probability"] == pytest.approx(expected.max().item())
    assert {one["label"]: one["probability"] for one in said["top_k"]} == pytest.approx(
        dict(zip(CLASSES, expected.tolist(), strict=True))
    )


def test_the_taxonomy_comes_with_the_answer_without_empty_ranks(served, picture):
    bundle = read_bundle(served)
    for number, name in enumerate(CLASSES):
        bundle.members[0].head[-1].bias.data = 1000.0 * torch.eye(3)[number]
        said = answer(bundle, [picture])[0].to_dict()
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
        (pd.DataFrame({"image": []}), {}, "no pictures: send at least one"),
        (pd.DataFrame({"picture": [b""]}), {}, "the column image is missing"),
        ([b""], {"top_k": 0}, "top_k=0: at least 1"),
    ],
)
def test_a_senders_mistake_is_one_line_and_no_trace(sent, params, said, model, served):
    with pytest.raises(mlflow.exceptions.MlflowException, match=said) as caught:
        model.predict(None, sent, params)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    assert str(served) not in str(caught.value)
    assert caught.value.__cause__ is None
    one_line = str(caught.value)
    caught.value.message = f"Failed to predict data '...'. \nError: {one_line}"  # as MLflow's server does
    assert json.loads(caught.value.serialize_as_json())["message"] == one_line


def test_the_place_of_the_bad_picture_is_told_beyond_a_batch(model, picture):
    with pytest.raises(mlflow.exceptions.MlflowException, match="picture 20"):
        model.predict(None, [picture] * 20 + [b"bad"])


def said_of(picture, folder, checkpoints, *parts):
    folder.mkdir()
    write_bundle(folder, {str(number): one for number, one in enumerate(checkpoints)}, *parts)
    said = answer(read_bundle(folder), [picture], Wanted(3))[0].to_dict()
    return {one["label"]: one["probability"] for one in said["top_k"]}


def test_several_networks_answer_by_their_rule(checkpoints, picture, tmp_path):
    first = said_of(picture, tmp_path / "1", checkpoints[:1])
    second = said_of(picture, tmp_path / "2", checkpoints[1:2])
    mixed = said_of(picture, tmp_path / "3", checkpoints[:2], SoftVote((0.25, 0.75)))
    assert mixed == pytest.approx({name: 0.25 * first[name] + 0.75 * second[name] for name in CLASSES})


def test_a_temperature_changes_probabilities_and_no_answer(checkpoints, picture, tmp_path):
    raw = said_of(picture, tmp_path / "1", checkpoints[:1])
    softer = said_of(picture, tmp_path / "2", checkpoints[:1], None, Calibration(2.0))
    roots = {name: share**0.5 for name, share in raw.items()}
    assert softer == pytest.approx({name: root / sum(roots.values()) for name, root in roots.items()})
    rule = SoftVote((0.5, 0.5))
    mixed = said_of(picture, tmp_path / "3", checkpoints[:2], rule)
    cooled = said_of(picture, tmp_path / "4", checkpoints[:2], rule, Calibration(2.0))
    assert list(cooled) == list(mixed)
    assert cooled != pytest.approx(mixed)


def test_networks_of_other_classes_are_not_mixed(checkpoints, tmp_path):
    members = dict(zip("abc", checkpoints, strict=True))
    with pytest.raises(BadInput, match="c knows other classes, or in another order, than a"):
        write_bundle(tmp_path, members, SoftVote())
    with pytest.raises(BadInput, match="the weights of lost are gone"):
        write_bundle(tmp_path, {"lost": tmp_path})


def test_heads_on_one_backbone_ask_it_once(checkpoints, picture, tmp_path):
    network, facts = load_best(checkpoints[0])
    torch.nn.init.normal_(network.head[-1].weight)
    save_best(tmp_path / "other", network, facts)
    write_bundle(tmp_path / "served", {"a": checkpoints[0], "b": tmp_path / "other"}, SoftVote())
    bundle = read_bundle(tmp_path / "served")
    assert bundle.members[0].backbone is bundle.members[1].backbone
    asked = []
    bundle.members[0].backbone.register_forward_hook(lambda *_: asked.append(1))
    answer(bundle, [picture])
    assert len(asked) == 1
    write_bundle(tmp_path / "two", {"a": checkpoints[0], "b": checkpoints[1]}, SoftVote())
    one, other = read_bundle(tmp_path / "two").members
    assert one.backbone is not other.backbone


@pytest.fixture(scope="module")
def calibrated(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    sets = SetRule(0.5, 0.0)
    thresholds = ((50, 0.0), (80, 0.7), (90, 1.0))
    write_bundle(folder, {"one": checkpoints[0]}, None, Calibration(1.0, sets, thresholds))

    class Context:
        artifacts = {"served": str(folder)}  # noqa: RUF012

    made = ServedModel()
    made.load_context(Context())
    return made


def test_a_prediction_set_is_given_only_when_asked_for(calibrated, model, picture):
    (plain,) = calibrated.predict(None, [picture])
    assert "prediction_set" not in plain
    assert "answered" not in plain
    sets = [calibrated.predict(None, [picture], {"coverage": share})[0]["prediction_set"] for share in (0.5, 0.8, 0.9)]
    assert sets[0] == [plain["label"]]  # never empty: it would hold nothing at this threshold
    assert set(sets[0]) <= set(sets[1]) <= set(sets[2]) == set(CLASSES)
    assert sets[2] == [one["label"] for one in plain["top_k"]]
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"coverage=0\.95 cannot be promised"):
        calibrated.predict(None, [picture], {"coverage": 0.95})
    with pytest.raises(mlflow.exceptions.MlflowException, match="for want of val pictures"):
        model.predict(None, [picture], {"coverage": 0.9})


@pytest.fixture(scope="module")
def knowing(checkpoints, tmp_path_factory):
    """A served model that knows pictures which its network finds much like the grey one."""
    network, facts = load_best(checkpoints[0])
    chance = np.random.default_rng(0)
    greys = [pictured(chance.integers(120, 136, (40, 40, 3), dtype=np.uint8)) for _ in range(60)]
    with torch.no_grad():
        seen = network.features(Inputs(torch.stack([facts.spec.preprocessing.read(one) for one in greys]))).numpy()
    familiar = Familiar.of(seen[:30], np.zeros(30, np.int64), 3)
    folder = tmp_path_factory.mktemp("knowing")
    known = Known.of(random_predictions(30, 3), familiar, familiar.looks(seen[30:], np.zeros((30, 3))))
    write_bundle(folder, {"one": checkpoints[0]}, None, Calibration(depths=((5, 0.0),)), known)
    return folder


def pictured(pixels):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return made.getvalue()


def test_a_picture_unlike_all_known_ones_is_called_unknown(knowing, served, picture):
    bundle = read_bundle(knowing)
    grey = pictured(np.random.default_rng(1).integers(120, 136, (40, 40, 3), dtype=np.uint8))
    usual, strange = answer(bundle, [grey, picture], Wanted(known_sent_away=0.04))
    assert (usual.unknown, strange.unknown) == (False, True)
    assert usual.to_dict()["unknown"] is False
    assert strange.to_row()["unknown"] is True
    assert strange.taxon.why.startswith("perhaps none of the known: stranger than 96 % of known pictures; the class")
    assert usual.taxon.why.startswith("the class itself is sure")
    with pytest.raises(BadInput, match=r"known_sent_away=0\.01: this model cannot promise .* at least 0\.04"):
        answer(bundle, [grey], Wanted(known_sent_away=0.01))
    older = read_bundle(served)  # of a version that knew nothing of this
    assert "unknown" not in answer(older, [picture])[0].to_dict()
    with pytest.raises(BadInput, match="cannot tell what is unknown to it"):
        answer(older, [picture], Wanted(known_sent_away=0.1))


def test_of_several_pictures_of_one_specimen_the_mean_is_strange_or_not(knowing, picture):
    bundle = read_bundle(knowing)
    alone, several = (seen_in(bundle, [picture] * count) for count in (1, 3))
    together = as_one(bundle, several)
    np.testing.assert_allclose(together.looks.distance, alone.looks.distance, rtol=1e-3)


def test_a_damaged_file_of_what_is_known_is_told(knowing, tmp_path):
    shutil.copytree(knowing, tmp_path / "served")
    (tmp_path / "served" / "known.safetensors").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"known\.safetensors is missing or damaged"):
        read_bundle(tmp_path / "served")


def test_an_answer_is_as_deep_as_it_is_sure(checkpoints, picture, tmp_path):
    """Cat and dog are of one genus here; the owl has no row."""
    write_bundle(tmp_path, {"one": checkpoints[0]}, None, Calibration(depths=((2, 0.95), (5, 0.8), (40, 0.3))))
    bundle = read_bundle(tmp_path)
    kin = pd.DataFrame({"genus": ["Felis", "Felis", None], "common_name": ["Cat", "Dog", None]}, index=list(CLASSES))
    bundle = replace(bundle, taxonomy=kin)

    def said(shares, error=None):
        bundle.members[0].head[-1].weight.data.zero_()
        bundle.members[0].head[-1].bias.data = torch.tensor(shares).log()
        return answer(bundle, [picture], Wanted(error=error))[0].to_dict()

    deep = said([0.9, 0.08, 0.02])
    assert (deep["taxon"], deep["rank"], deep["chain"]) == ("cat", "label", {"genus": "Felis", "label": "cat"})
    assert deep["common_name"] == "Cat"
    assert deep["taxon_probability"] == pytest.approx(0.9, abs=1e-3)
    higher = said([0.6, 0.38, 0.02])
    assert (higher["label"], higher["taxon"], higher["rank"]) == ("cat", "Felis", "genus")
    assert (higher["chain"], "common_name" in higher) == ({"genus": "Felis"}, False)
    assert higher["why"] == "the genus is sure with 98 % (80 % asked), the class itself is not: cat has 60 %"
    nothing = said([0.3, 0.2, 0.5])
    assert (nothing["label"], nothing["taxon"], nothing["rank"]) == ("owl", None, None)
    assert nothing["why"] == "sure of no rank: owl would be the likeliest, with 50 % (80 % asked)"
    assert said([0.3, 0.2, 0.5], error=0.4)["taxon"] == "owl"
    assert said([0.9, 0.08, 0.02], error=0.03)["rank"] == "genus"  # the next share that is kept
    with pytest.raises(BadInput, match=r"error=0\.01: this model cannot promise so few wrong answers: at least 0\.02"):
        said([0.9, 0.08, 0.02], error=0.01)


def test_only_what_is_listed_is_answered_with_exact_shares(checkpoints, picture, tmp_path):
    sets = Calibration(1.0, SetRule(0.5, 0.0), ((90, 1.0),), ((5, 0.7),))
    write_bundle(tmp_path, {"one": checkpoints[0]}, None, sets)
    bundle = read_bundle(tmp_path)
    bundle.members[0].head[-1].weight.data.zero_()
    bundle.members[0].head[-1].bias.data = torch.tensor([0.2, 0.1, 0.7]).log()
    plain, said = (answer(bundle, [picture], Wanted(coverage=0.9, only=only))[0] for only in ((), ("cat", "Canis")))
    assert [name for name, _ in said.top_k] == ["cat", "dog"]
    assert said.probability == pytest.approx(2 / 3, abs=1e-3)
    assert set(said.prediction_set) == {"cat", "dog"} < set(plain.prediction_set)
    assert said.elsewhere == ("owl", pytest.approx(0.7, abs=1e-3))
    assert said.to_dict()["without_list"]["label"] == "owl"
    assert said.to_row()["label_without_list"] == "owl"
    assert plain.elsewhere is None
    likely = answer(bundle, [picture], Wanted(only=("owl", "dog")))[0]
    assert (likely.label, likely.elsewhere) == ("owl", None)
    assert likely.taxon.name == "owl"


def test_a_model_of_before_ranks_were_promised_answers_without(checkpoints, picture, tmp_path):
    write_bundle(tmp_path, {"one": checkpoints[0]})
    file = tmp_path / "model.json"
    plain = json.loads(file.read_text())
    del plain["calibration"]["depths"]
    file.write_text(json.dumps(plain | {"format_version": 2}))
    bundle = read_bundle(tmp_path)
    assert {"taxon", "rank", "why"}.isdisjoint(answer(bundle, [picture])[0].to_dict())
    with pytest.raises(BadInput, match="promote the run again"):
        answer(bundle, [picture], Wanted(error=0.05))


def test_a_label_below_the_least_probability_is_marked(model, picture):
    (plain,) = model.predict(None, [picture])
    for least, answered in ((0.01, True), (plain["probability"], True), (0.999, False)):
        (said,) = model.predict(None, [picture], {"min_probability": least})
        assert said == plain | {"answered": answered}
    assert model.predict(None, [picture], {"only": ["dog"]})[0]["label"] == "dog"
    with pytest.raises(mlflow.exceptions.MlflowException, match="only: the model knows no class and no taxon dig"):
        model.predict(None, [picture], {"only": ["dig"]})
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"min_probability=7\.0"):
        model.predict(None, [picture], {"min_probability": 7})


def test_reasons_are_given_only_when_asked_for(model, picture):
    (plain,) = model.predict(None, [picture], {"explain": False})
    assert "reasons" not in plain
    (said,) = model.predict(None, [picture], {"explain": True})
    why = said.pop("reasons")
    assert said == plain
    json.dumps(why)
    assert why["method"] == "gradcam"
    assert {len(row) for row in why["map"]} == {len(why["map"])} == {6}
    assert max(map(max, why["map"])) in (0, 1)
    with Image.open(io.BytesIO(base64.b64decode(why["overlay"].removeprefix("data:image/jpeg;base64,")))) as shown:
        assert shown.size == (32, 32)


def test_requests_at_once_do_not_meet_in_the_networks(model, picture):
    """Reasons hook into the network that all threads ask."""
    asked = [{"explain": number % 2 == 0} for number in range(24)]
    alone = {why["explain"]: model.predict(None, [picture], why) for why in asked[:2]}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda why: model.predict(None, [picture], why), asked))
    assert together == [alone[why["explain"]] for why in asked]


def test_pictures_of_one_animal_have_one_answer(model, picture):
    (plain,) = model.predict(None, [picture])
    assert model.predict(None, [picture], {"together": True}) == [plain]
    (said,) = model.predict(None, [picture, picture], {"together": True})
    assert said["label"] == plain["label"]
    assert said["probability"] == pytest.approx(plain["probability"], abs=1e-6)
    with pytest.raises(mlflow.exceptions.MlflowException, match="leave out together or explain"):
        model.predict(None, [picture], {"together": True, "explain": True})


def test_what_a_server_needs_is_what_it_is_told_to_install():
    code = (
        "import sys, pipeline.serving.pyfunc\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('pipeline.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = set()
    for file in done.stdout.split():
        for line in ast.parse(Path(file).read_text()).body:
            if isinstance(line, ast.Import):
                packages |= {name.name.partition(".")[0] for name in line.names}
            elif isinstance(line, ast.ImportFrom):
                packages.add(line.module.partition(".")[0])
    owners = metadata.packages_distributions()
    for package in packages - sys.stdlib_module_names - {"pipeline"}:
        assert {owner.lower().replace("_", "-") for owner in owners[package]} & set(registry._NEEDS), package


def test_a_model_of_another_version_or_a_damaged_one_is_refused(checkpoints, tmp_path):
    write_bundle(tmp_path, {"one": checkpoints[0]})
    file = tmp_path / "model.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps(plain | {"format_version": 7}))
    with pytest.raises(BadInput, match="format_version 7; this version reads 3"):
        read_bundle(tmp_path)
    for damaged in (plain | {"members": [{}]}, plain | {"calibration": 3}, {"format_version": 2}):
        file.write_text(json.dumps(damaged))
        with pytest.raises(BadInput, match=r"model.json is damaged \(.*\): promote the run again"):
            read_bundle(tmp_path)
    for text in (json.dumps(plain)[:40], "[]"):
        file.write_text(text)
        with pytest.raises(BadInput, match="missing or no JSON"):
            read_bundle(tmp_path)


@pytest.mark.parametrize("broken", ["cut short", "not finite"])
def test_broken_weights_are_not_served(broken, checkpoints, tmp_path):
    from safetensors.torch import load_file, save_file

    name, folder = "a", checkpoints[0]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    file = copy / "best.safetensors"
    if broken == "cut short":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        state = load_file(file)
        next(one for one in state.values() if one.is_floating_point()).view(-1)[0] = float("nan")
        file.unlink()
        save_file(state, file)
    with pytest.raises(BadInput, match=r"does not hold the weights|not finite"):
        write_bundle(tmp_path / "served", {name: copy})
