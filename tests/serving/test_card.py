"""What a registered version says of itself."""

import re

from stored import finished

from pipeline.serving.calibration import Calibration
from pipeline.serving.card import model_card
from pipeline.serving.from_run import Assembled


def assembled(classes, **changes):
    figures = {"test/ece_calibrated": 0.021, "test/coverage_90": 0.934, "test/set_size_90": 1.26}
    plain = {"networks": 1, "calibration": Calibration(), "figures": figures, "pictures": {"val": 60, "test": 90}}
    return Assembled(tuple(classes), **{**plain, **changes})


def test_a_card_says_how_good_on_what_and_how_to_ask(store):
    run = store.get_run(finished(tags={"git_sha": "abc"}))
    card = model_card(run, assembled(["auk", "bee eater"]), "models:/birds@champion")
    share = 100 * run.data.metrics["test/accuracy"]
    assert re.search(rf"\| test \| {share:.1f} % \| [0-9.]+ % to [0-9.]+ % \| 90 \|", card)
    assert "off by 2.1 % in the mean" in card
    assert "did so in 93.4 % of test, with 1.3 classes each" in card
    assert "Commit: `abc`" in card
    assert "model=models:/birds@champion" in card
    assert "`auk`, `bee eater`" in card


def test_of_what_a_run_does_not_tell_nothing_is_said(store):
    bare = store.get_run(store.create_run("0").info.run_id)
    card = model_card(bare, assembled(["a", "b"], figures={}, pictures={}), "models:/x@y")
    assert "None" not in card
    assert "Commit" not in card
    assert "| test" not in card


def test_no_description_is_longer_than_mlflow_takes_and_classes_are_text(store):
    bare = store.get_run(store.create_run("0").info.run_id)
    classes = ["<script>alert(1)</script>`**x**", *(f"{number:04d}" + "long name " * 40 for number in range(3000))]
    card = model_card(bare, assembled(classes), "models:/x@y")
    assert len(card) <= 5000
    assert "mlflow models serve" in card
    assert "`<script>alert(1)</script>'**x**`" in card
    store.create_registered_model("m")
    version = store.create_model_version("m", "file:///nowhere", description=card)
    assert store.get_model_version("m", version.version).description == card
