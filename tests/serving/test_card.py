"""What a registered version says of itself, to people and to programs."""

import re

import pytest
from huggingface_hub import ModelCard
from stored import finished, predictions

from pipeline.models.pretraining import pretraining
from pipeline.serving.calibration import Calibration
from pipeline.serving.card import model_card
from pipeline.serving.from_run import Assembled


def assembled(classes, **changes):
    figures = {"test/ece": 0.05, "test/ece_calibrated": 0.021, "test/coverage_90": 0.934, "test/set_size_90": 1.26}
    answered = {"val": predictions(), "test": predictions("test", pictures=90)}
    plain = {"networks": 1, "calibration": Calibration(), "figures": figures, "answered": answered}
    return Assembled(tuple(classes), **{**plain, **changes})


def test_a_card_says_how_good_on_what_and_how_to_ask(store):
    run = store.get_run(finished(tags={"git_sha": "abc", "overrides": "data.root=/home/me/birds head=knn"}))
    made = assembled(["auk", "bee\neater", "crane"], trainings=(run,))  # a name may be called anything
    card = model_card(run, made, "models:/birds@champion")
    share = 100 * run.data.metrics["test/accuracy"]
    assert re.search(rf"\| test \| accuracy \| {share:.1f} % \| [0-9.]+ % to [0-9.]+ % \| 90 \|", card.text)
    assert "off by 2.1 % in the mean (5.0 % before)" in card.text
    assert re.search(r"did so in 93.4 % of test \[[0-9.]+ %, [0-9.]+ %; n = 90\], with 1.3 classes each", card.text)
    assert "They lapse for pictures" in card.text
    assert "Commit: `abc`" in card.text
    assert "data.root=birds head=knn" in card.text  # where it lay on this machine is nobody's business
    assert "model=models:/birds@champion" in card.description
    assert "`auk`, `bee eater`" in card.text
    assert re.search(r"\| `(auk|bee eater|crane)` \| \d+ of 30 \|", card.text)
    assert card.description == "\n\n".join(card.parts)


def test_programs_read_the_figures_with_their_intervals(store, tmp_path):
    run = store.get_run(finished())
    made = assembled(["auk", "bee eater", "crane"], trainings=(run,))
    (tmp_path / "README.md").write_text(model_card(run, made, "models:/birds@champion", "CC BY 4.0").text)
    head = ModelCard.load(tmp_path / "README.md").data
    [accuracy] = [one for one in head.eval_results if (one.dataset_split, one.metric_type) == ("test", "accuracy")]
    assert accuracy.metric_value == pytest.approx(run.data.metrics["test/accuracy"], abs=1e-6)
    assert accuracy.metric_args["low"] < accuracy.metric_value < accuracy.metric_args["high"]
    assert accuracy.metric_args["n"] == 90
    assert head.data_licence == "CC BY 4.0"


def test_who_said_no_licence_is_asked_for_it_and_who_said_one_need_not_again(store):
    for said, text in ((None, "say it with `data.licence=...`"), ("own work", "Licence of the pictures: own work.")):
        run = store.get_run(finished(data__licence=said))
        assert text in model_card(run, assembled(["a", "b", "c"], trainings=(run,)), "models:/x@y").text


def test_of_what_a_run_does_not_tell_nothing_is_said(store):
    bare = store.get_run(store.create_run("0").info.run_id)
    card = model_card(bare, assembled(["a", "b"], figures={}, answered={}), "models:/x@y").text
    assert "None" not in card
    assert "Commit" not in card
    assert "| test" not in card


def test_no_description_is_longer_than_mlflow_takes_and_classes_are_text(store):
    bare = store.get_run(store.create_run("0").info.run_id)
    classes = ["<script>alert(1)</script>`**x**", *(f"{number:04d}" + "long name " * 40 for number in range(3000))]
    card = model_card(bare, assembled(classes, answered={"test": predictions(classes=classes[:60])}), "models:/x@y")
    assert len(card.description) <= 5000
    assert "mlflow models serve" in card.description
    assert "`README.md`" in card.description  # where the rest is
    assert "`<script>alert(1)</script>'**x**`" in card.text
    store.create_registered_model("m")
    version = store.create_model_version("m", "file:///nowhere", description=card.description)
    assert store.get_model_version("m", version.version).description == card.description


PUBLISHED = {"model.name": "torchvision/mobilenet_v2", "model.weights": "DEFAULT", "regime.weights": "pretrained"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (PUBLISHED, "seen ImageNet: yes"),
        (PUBLISHED | {"data.source": "cub200"}, "22 to 23 test pictures of CUB-200-2011"),
        (PUBLISHED | {"regime.weights": "none"}, "began with random weights"),
        (PUBLISHED | {"model.weights_file": "/home/me/own.pth"}, "(`own.pth`) were trained on is not known here"),
        ({"model.join": "['mobilenetv2', 'swint']", "regime.weights": "pretrained"}, "swin"),
    ],
)
def test_what_the_weights_had_seen_is_told(params, said):
    lines = pretraining([params])
    assert any(said in line for line in lines)
    assert ("Whether a test picture was among them" in lines[-1]) == (params["regime.weights"] != "none")
    assert not any("/home" in line for line in lines)
