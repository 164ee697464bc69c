import importlib
import io
import warnings

import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.tree import DecisionTreeClassifier

from pipeline.reporting import plots
from pipeline.reporting.plots import style
from pipeline.reporting.plots.knowledge import told_apart
from pipeline.reporting.plots.tree import first_questions


def drawn(figure: Figure) -> list[str]:
    """Draw for real, and give every text that the figure shows."""
    figure.savefig(io.BytesIO(), dpi=40)
    return [
        text.get_text() for axes in figure.axes for text in axes.findobj(match=lambda one: hasattr(one, "get_text"))
    ]


HISTORY = [
    {"epoch": 1, "train/loss": 1.0, "train/accuracy": 0.5, "val/loss": 1.1, "val/accuracy": 0.4},
    {"epoch": 2, "train/loss": 0.5, "train/accuracy": 0.8, "val/loss": 0.7, "val/accuracy": 0.7},
    {"epoch": 3, "train/loss": 0.2, "train/accuracy": 0.9, "val/loss": 0.9, "val/accuracy": 0.6},
]


@pytest.mark.parametrize("history", [HISTORY, pd.DataFrame(HISTORY), HISTORY[:1]])
def test_curves_draw_train_dashed_and_val_solid(history):
    figure = plots.curves(history, title="resnet18")
    for axes in figure.axes:
        train, val, *_ = axes.lines
        assert (train.get_linestyle(), val.get_linestyle()) == ("--", "-")
    drawn(figure)


def test_curves_mark_the_epoch_whose_weights_are_kept():
    texts = drawn(plots.curves(HISTORY))
    assert "best epoch 2: val 70.00%" in texts
    assert "best epoch 2: val 0.700" in texts


def numbers_below(figure):
    """The ticks of the horizontal axis that are seen."""
    drawn(figure)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    return [tick for tick in axes.get_xticks() if low <= tick <= high]


def test_there_is_no_part_of_an_epoch_or_a_picture():
    classes = pd.DataFrame({"class": ["a", "b", "c"], "trained": 27, "pictures": 5, "error": [0.2, 0.2, 0.0]})
    assert numbers_below(plots.curves(HISTORY[:1])) == [1]
    assert numbers_below(plots.curves_together({"one": HISTORY[:1]})) == [1]
    assert 27 in (ticks := numbers_below(figure := plots.error_by_size(classes)))
    assert all(float(tick).is_integer() for tick in ticks)
    assert ("a" in drawn(figure)) != ("b" in drawn(figure))  # names on one dot would cover each other


def test_one_epoch_is_a_dot():
    lines = plots.curves_together({"one": HISTORY[:1], "two": HISTORY}).axes[0].lines
    assert [line.get_marker() for line in lines] == ["o", "o", "", ""]


def test_curves_without_val():
    drawn(plots.curves([{"epoch": 1, "train/loss": 1.0, "train/accuracy": 0.5}]))


@pytest.mark.parametrize("classes", [2, 20, 60])
@pytest.mark.parametrize("normalise", [True, False])
def test_confusion_names_every_class_up_to_sixty(make_predictions, classes, normalise):
    predictions = make_predictions(100, classes)
    texts = drawn(plots.confusion(predictions, normalise=normalise))
    assert set(predictions.classes) <= set(texts)


def test_confusion_of_many_classes_shows_the_worst(make_predictions):
    figure = plots.confusion(make_predictions(400, 100))
    assert any("confused most, of 100" in text for text in drawn(figure))


def test_confusion_of_many_classes_goes_by_taxonomic_group(make_predictions):
    predictions = make_predictions(400, 2_000, signal=4)
    taxonomy = pd.DataFrame(
        {
            "order": [f"order {code % 7}" for code in range(2_000)],
            "family": [f"family {code % 700}" for code in range(2_000)],
        },
        index=predictions.classes,
    )
    texts = drawn(plots.confusion(predictions, taxonomy=taxonomy))
    assert "By order: 2,000 classes in 7 groups" in texts
    assert "order 3" in texts


def test_confusion_without_mistakes_or_with_odd_names(make_predictions):
    drawn(plots.confusion(make_predictions(100, 70, signal=99)))
    predictions = make_predictions(20, 2)
    predictions.classes[:] = ["$a_1", "ein sehr langer Name, der nicht in das Bild passen kann"]
    drawn(plots.confusion(predictions))


def test_reliability_before_and_after(make_predictions):
    predictions = make_predictions()
    versions = {"before": predictions, "after": predictions.at_temperature(1.5)}
    figure = plots.reliability_diagram(versions, title="test")
    texts = drawn(figure)
    assert any(text.startswith("before: calibration error 0.") for text in texts)
    assert any(text.startswith("after: calibration error 0.") for text in texts)


def test_accuracy_of_the_answered(make_predictions):
    texts = drawn(plots.answered_accuracy({"one": make_predictions(), "two": make_predictions(seed=1)}))
    assert {"one", "two"} <= set(texts)


def test_curves_of_several_runs_share_a_figure():
    figure = plots.curves_together({"first": HISTORY, "second": pd.DataFrame(HISTORY)})
    styles = [line.get_linestyle() for line in figure.axes[0].lines]
    assert styles == ["--", "-", "--", "-"]
    drawn(figure)


@pytest.mark.parametrize("minutes", [[1.0, 3.0, 2.0], [1.0, 300.0, 20.0], [0.0, 1.0, 2.0]])
def test_cost_and_quality_names_the_runs_on_the_front(minutes):
    runs = pd.DataFrame(
        {"minutes": minutes, "accuracy": [0.5, 0.4, 0.6], "low": 0.3, "high": 0.7},
        index=["cheap", "beaten", "good"],
    )
    texts = drawn(plots.cost_and_quality(runs, "minutes", "accuracy", low="low", high="high"))
    assert {"cheap", "good"} <= set(texts)
    assert "beaten" not in texts


def test_letters_that_the_font_has_not_bring_no_warning(make_predictions):
    found = make_predictions(10, 2)
    found.classes[0] = "\N{FOX FACE}\N{CJK UNIFIED IDEOGRAPH-72D0}"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        importlib.reload(style)  # as a command imports it: pytest sets all filters back for each test
        drawn(plots.confusion(found))
    assert not said


def test_what_tells_nothing_apart_is_not_drawn():
    shares = pd.DataFrame(
        [[1, 0.5, None], [0, 0.5, 1], [0, 0.5, 1]], index=["auk", "crane", "owl"], columns=["red", "alike", "crest"]
    )
    texts = drawn(told_apart([("auk", "crane", "first"), ("crane", "owl", "then")], shares))
    assert texts.count("red") == 1
    assert not {"alike", "crest"} & set(texts)
    assert "by no attribute that is known of both" in texts


def test_a_tree_shows_no_counts_of_classes():
    tree = DecisionTreeClassifier().fit([[0.1], [0.2], [0.9]], [0, 0, 1])
    assert "2 pictures, most of\nauk" in drawn(first_questions(tree, ["red"], ["auk", "crane"]))
