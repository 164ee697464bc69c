"""A verdict for each kind of curve, for those between, and for any at all."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.evaluation import verdict
from pipeline.evaluation.verdict import Chance, judge

TEN = Chance(loss=math.log(10), accuracy=0.1, classes=10, pictures=500)
BIRDS = Chance(loss=math.log(200), accuracy=0.01, classes=200, pictures=600)
CATS = Chance(loss=math.log(2), accuracy=0.5, classes=2, pictures=140)


def history(val_loss, train_loss=None, accuracy=None, norms=None, largest=None):
    """A row an epoch; what is not given follows the val loss."""
    train_loss = train_loss or [0.9 * loss for loss in val_loss]
    accuracy = accuracy or [max(0.0, 1 - loss / 4) for loss in val_loss]
    rows = []
    for number, (val, train, right) in enumerate(zip(val_loss, train_loss, accuracy, strict=True)):
        row = {
            "epoch": number + 1,
            "val/loss": val,
            "train/loss": train,
            "val/accuracy": right,
            "train/accuracy": right,
        }
        if norms:
            row |= {"gradient_norm": norms[number], "gradient_norm_max": largest[number]}
        rows.append(row)
    return rows


FALLING = [1.5, 0.9, 0.6, 0.45, 0.36, 0.30, 0.27, 0.26, 0.255, 0.25]
CURVES = {
    "sound": (TEN, history(FALLING)),
    "still improving": (TEN, history([2.2, 2.0, 1.8, 1.6, 1.4, 1.2])),
    "doubtful: still improving": (TEN, history([1.5, 0.9, 0.6, 0.5, 0.45, 0.41])),
    "overfits": (
        TEN,
        history([1.5, 0.9, 0.7, 0.8, 0.95, 1.1], [1.4, 0.7, 0.3, 0.1, 0.05, 0.02], [0.5, 0.7, *[0.75] * 4]),
    ),
    "doubtful: overfits": (
        TEN,
        history([1.5, 0.9, 0.7, 0.75, 0.8, 0.85], [1.4, 0.7, 0.3, 0.1, 0.05, 0.02], [0.5, 0.7, *[0.75] * 4]),
    ),
    # the birds study: it was read as overfitting
    "not above chance": (BIRDS, history([5.34, 5.32, 5.30, 5.30, 5.295, 5.29], accuracy=[0.005, 0.006, 0.008] * 2)),
    "doubtful: not above chance": (CATS, history([0.70, 0.67, 0.66, 0.655], accuracy=[0.5, 0.52, 0.55, 0.56])),
    "unstable": (TEN, history([1.5, 0.9, 2.5, 1.0, 2.6, 1.1], [1.4, 0.8, 2.4, 0.9, 2.5, 0.9])),
    "doubtful: unstable": (
        TEN,
        history([1.5, 0.9, 2.4, 0.5, 0.4, 0.4, 0.4, 0.4], [1.4, 0.9, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4]),
    ),
    "too short": (TEN, history([0.9])),
}


@pytest.mark.parametrize("kind", CURVES)
def test_each_kind_of_curve_has_its_verdict(kind):
    chance, rows = CURVES[kind]
    found = judge(rows, chance)
    assert found.tag == kind, str(found)
    assert "\n" not in str(found)
    assert found.advice or found.kind == "sound"
    assert str(found).startswith("doubtful, perhaps" if found.doubtful else found.kind)


def test_what_was_fitted_at_once_has_no_curve_to_be_judged_by():
    assert judge(CURVES["too short"][1], TEN, head_only=True, fitted=True).kind == "sound"
    spread = history([3.1], [0.01], [0.6])  # sure of itself where it is wrong
    assert judge(spread, TEN, head_only=True, fitted=True).kind == "sound"
    lost = judge(history([2.3], [0.01], [0.1]), TEN, head_only=True, fitted=True)
    assert lost.kind == "not above chance"
    assert "another head" in lost.advice
    assert "optimizer" not in str(lost)
    assert "epochs" not in str(lost)


def test_the_sentence_puts_loss_beside_chance_and_accuracy_beside_the_majority_with_its_interval():
    said = str(judge(CURVES["not above chance"][1], BIRDS))
    assert "val loss 5.290 (knowing nothing: 5.298)" in said
    assert "val accuracy 0.8 % [0.3, 2.5, for the best of 6 epochs] (always the same answer: 1.0 %)" in said
    assert "optimizer.lr ten times larger or smaller" in said


def test_overfitting_is_dated():
    said = str(judge(CURVES["overfits"][1], TEN))
    assert "from epoch 3 on, val loss rose from 0.700 to 1.100 while train loss fell to 0.020" in said
    assert "augmentation=trivial" in said


def test_of_nothing_learned_the_gradient_tells_unstable_from_too_little():
    flat = [2.31, 2.30, 2.31, 2.30]
    steady = history(flat, accuracy=[0.1] * 4, norms=[1.0] * 4, largest=[2.0] * 4)
    thrown = history(flat, accuracy=[0.1] * 4, norms=[1.0, 9.0, 0.5, 1.0], largest=[2.0, 300.0, 1.0, 2.0])
    assert (judge(steady, TEN).kind, judge(thrown, TEN).kind) == ("not above chance", "unstable")


@pytest.mark.parametrize(
    ("kind", "val_loss", "train_loss", "accuracy", "norms", "largest"),
    [  # as 376 digits gave them: resnet18 with a rate of 1e-9, squeezenet with one of 0.05, both by AdamW
        ("not above chance", [2.34, 2.48, 2.55, 2.57], [2.59, 2.61, 2.60, 2.60], [0.089, 0.072, 0.094, 0.1],
         [52.1, 52.6, 53.0, 52.6], [63.0, 71.5, 58.4, 61.6]),
        ("unstable", [2.32, 2.29, 2.29, 2.30], [2.6e5, 2.33, 2.31, 2.31], [0.1, 0.106, 0.1, 0.1],
         [1.3e6, 0.309, 0.218, 0.191], [1.5e7, 0.537, 0.335, 0.297]),
        ("still improving", [1.90, 1.35, 1.19, 0.983], [1.65, 1.09, 0.93, 0.642], [0.37, 0.69, 0.76, 0.82],
         [45.3, 35.3, 32.6, 25.4], [54.9, 42.3, 35.7, 29.8]),
    ],
)  # fmt: skip
def test_real_curves(kind, val_loss, train_loss, accuracy, norms, largest):
    assert judge(history(val_loss, train_loss, accuracy, norms, largest), TEN).tag == kind


def test_a_loss_above_knowing_nothing_is_unstable_though_val_is_at_chance():
    diverged = history([40.0, 30.0, 20.0], [90.0, 50.0, 30.0], [0.1] * 3)
    assert judge(diverged, TEN).tag == "unstable"


def test_what_is_learned_by_heart_is_said_so():
    learned = history([2.4, 2.5, 2.6, 2.7], [2.0, 1.0, 0.3, 0.05], [0.1, 0.11, 0.1, 0.1])
    found = judge(learned, TEN)
    assert found.kind == "not above chance"
    assert "by heart" in found.seen
    assert "labels" in found.advice


def test_an_uneven_val_is_not_above_chance_by_its_majority():
    uneven = Chance(loss=0.325, accuracy=0.9, classes=2, pictures=200)
    always_the_same = history([0.33, 0.326, 0.325], accuracy=[0.9] * 3)
    assert judge(always_the_same, uneven).tag == "not above chance"
    assert judge(history([0.2, 0.15, 0.12, 0.12, 0.12], accuracy=[0.9, 0.96, 0.97, 0.97, 0.97]), uneven).tag == "sound"


def test_one_epoch_is_too_short_unless_at_chance():
    assert judge(history([2.3], accuracy=[0.1]), TEN).tag == "not above chance"
    assert judge(history([0.3], accuracy=[0.9]), TEN).tag == "too short"
    assert judge(history([0.3, 0.29], accuracy=[0.9, 0.9]), TEN).tag == "too short"
    assert judge(history([1.5, 0.9], accuracy=[0.4, 0.7]), TEN).tag == "still improving"


def test_the_shape_is_that_of_the_last_stage():
    head, everything = [1.9, 1.5, 1.2], FALLING
    rows = history(head + everything)
    assert judge(rows, TEN, stage_began=3).tag == "sound"
    assert judge(rows[:4], TEN, stage_began=3).tag == "doubtful: head alone was better"
    assert judge(history([1.9, 1.5, 1.2, 1.0]), TEN, stage_began=3).tag == "too short"
    jump = history([0.5, 0.4, 2.0, 1.0, 0.6, 0.5, 0.45, 0.44, 0.44, 0.44, 0.44])  # as the whole network wakes up
    assert judge(jump, TEN).kind == "unstable"
    assert judge(jump, TEN, stage_began=2).kind != "unstable"


def test_a_head_that_did_better_alone_is_told_of():
    rows = history([0.5, 0.4, *[0.6] * 4], [0.5, 0.4, *[0.3] * 4], [0.9, 0.95, 0.8, 0.82, 0.82, 0.82])
    assert judge(rows, TEN, stage_began=2).tag == "head alone was better"
    rows = history([0.5, 0.4, *[0.41] * 4], [0.5, 0.4, *[0.3] * 4], [0.9, 0.95, *[0.948] * 4])
    assert judge(rows, TEN, stage_began=2).tag == "sound"


def test_rows_from_before_gradients_were_kept_do():
    rows = history([2.31, 2.30, 2.31], accuracy=[0.1] * 3, norms=[1.0] * 3, largest=[50.0] * 3)
    for name in ("gradient_norm", "gradient_norm_max"):
        del rows[0][name]
    assert judge(rows, TEN).kind == "not above chance"


LOSS = st.floats(0, 20) | st.floats(0, 1e300) | st.sampled_from([math.inf, math.nan])
ROW = st.tuples(LOSS, LOSS, st.floats(0, 1), LOSS)
KINDS = {
    getattr(verdict, name)
    for name in ("TOO_SHORT", "AT_CHANCE", "UNSTABLE", "OVERFITS", "IMPROVING", "HEAD_BETTER", "SOUND")
}


@example([(0.0, 1.0, 0.0, 0.0), (0.0, 1.0, 0.0, 1e-282), (0.0, 1.0, 0.0, 1e26)], 2, 0.0, 1, 0)
@given(st.lists(ROW, max_size=50), st.integers(1, 1000), st.floats(0, 1), st.integers(1, 100_000), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_any_curve_has_a_verdict(rows, classes, majority, pictures, stage_began):
    made = [
        {"epoch": number, "train/loss": train, "val/loss": val, "val/accuracy": accuracy, "gradient_norm": norm,
         "gradient_norm_max": 2 * norm}
        for number, (train, val, accuracy, norm) in enumerate(rows, start=1)
    ]  # fmt: skip
    found = judge(made, Chance(math.log(classes), majority, classes, pictures), stage_began=stage_began)
    assert found.kind in KINDS
    assert "\n" not in str(found)


@pytest.mark.parametrize(("first", "tag"), [(77.0, "unstable"), (9.0, "doubtful: unstable"), (3.0, "sound")])
def test_a_first_epoch_far_worse_than_knowing_nothing_is_not_sound(first, tag):
    curve = history([first, 0.9, 0.5, 0.35, 0.3, 0.29], [first, 0.8, 0.5, 0.42, 0.41, 0.41])
    assert judge(curve, TEN).tag == tag


def test_a_rate_too_small_is_told_as_such_and_a_frozen_run_is_not_told_to_be_one():
    still = history([math.log(2)] * 5, [math.log(2)] * 5, [0.5] * 5)
    found = judge(still, CATS, head_only=True)
    assert found.kind == "not above chance"
    assert "train loss hardly moved (0.693 to 0.693)" in found.seen
    assert found.advice == "optimizer.lr ten times larger, or more"
    assert judge(still, CATS).advice.endswith("regime=frozen")
    overfit = CURVES["overfits"][1]
    assert "frozen" in judge(overfit, TEN).advice
    assert "frozen" not in judge(overfit, TEN, head_only=True).advice
