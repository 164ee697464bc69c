import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch.nn import functional

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.training.losses import BothWays, FocalLoss, build_loss, loss_of_knowing_nothing

CLASSES = ["ant", "bee", "cat"]
CODES = np.array([0, 0, 0, 0, 1, 1, 2])


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])


def built(name, **options):
    given = TypeAdapter(schema.Loss).validate_python({"name": name, "label_smoothing": 0.0} | options)
    return build_loss(given, classes=CLASSES, labels=CODES)


def test_cross_entropy_is_torchs(batch):
    assert built("cross_entropy", label_smoothing=0.1)(*batch) == functional.cross_entropy(*batch, label_smoothing=0.1)


def test_balanced_weights_by_hand(batch):
    # n / (classes * count): 7 / (3 * 4), 7 / (3 * 2), 7 / (3 * 1)
    weight = torch.tensor([7 / 12, 7 / 6, 7 / 3])
    torch.testing.assert_close(
        built("weighted", class_weights="balanced")(*batch), functional.cross_entropy(*batch, weight=weight)
    )


def test_pictures_shown_twice_count_as_the_share_says(batch):
    logits, labels = batch
    loss, others = built("cross_entropy"), torch.randn(8, 3)
    both = BothWays(loss, 0.25)
    torch.testing.assert_close(
        both(torch.cat([logits, others]), labels), 0.75 * loss(logits, labels) + 0.25 * loss(others, labels)
    )
    assert both(logits, labels) == loss(logits, labels)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 5.0], {"cat": 5.0}])
def test_weights_as_a_list_or_by_class_name(weights, batch):
    expected = functional.cross_entropy(*batch, weight=torch.tensor([1.0, 1.0, 5.0]))
    torch.testing.assert_close(built("weighted", class_weights=weights)(*batch), expected)


def test_focal_loss_by_hand():
    logits = torch.log(torch.tensor([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2]]))
    expected = -(0.2**2 * np.log(0.8) + 0.7**2 * np.log(0.3)) / 2
    assert FocalLoss(2.0)(logits, torch.tensor([0, 0])).item() == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 2**31 - 1), st.booleans(), st.floats(0, 0.5))
@settings(max_examples=25, deadline=None)
def test_focal_loss_with_gamma_0_is_cross_entropy(seed, weighted, smoothing):
    chance = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(6, 3, generator=chance), torch.randint(0, 3, (6,), generator=chance)
    weight = torch.rand(3, generator=chance) + 0.1 if weighted else None
    torch.testing.assert_close(
        FocalLoss(0.0, weight, smoothing)(logits, labels),
        functional.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing),
    )


@pytest.mark.parametrize(
    ("weights", "said"),
    [({"cta": 2.0}, r"no class cta; did you mean cat\?"), ([1.0, 2.0], "has 2 weights for 3 classes")],
)
def test_weights_that_fit_no_class_are_refused(weights, said):
    with pytest.raises(BadInput, match=said):
        built("weighted", class_weights=weights)


def focal_by_definition(logits, labels, gamma):
    log_truth = functional.log_softmax(logits.double(), dim=1).gather(1, labels[:, None])[:, 0]
    return (-torch.expm1(log_truth).clamp(max=-1e-300)).pow(gamma).mul(-log_truth).mean()


@given(st.lists(st.lists(st.floats(-100, 100), min_size=3, max_size=3), min_size=1, max_size=4), st.floats(0, 5))
@example([[100.0, -100.0, 0.0]], 0.5)
@example([[20.0, 0.0, 0.0], [0.0, 0.0, 0.0]], 0.01)
@settings(max_examples=200, deadline=None)
def test_focal_loss_and_its_gradient_are_the_analytic_ones_at_any_gamma(rows, gamma):
    labels = torch.arange(len(rows)) % 3
    logits = torch.tensor(rows, dtype=torch.float32, requires_grad=True)
    exact = torch.tensor(rows, dtype=torch.float32).double().requires_grad_()
    found, expected = FocalLoss(gamma)(logits, labels), focal_by_definition(exact, labels, gamma)
    found.backward()
    expected.backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(logits.grad.double(), exact.grad.nan_to_num(0.0), rtol=1e-3, atol=1e-5)


def test_focal_loss_of_one_class_is_nothing_to_learn():
    logits = torch.tensor([[3.0], [-2.0]], requires_grad=True)
    FocalLoss(2.0)(logits, torch.tensor([0, 0])).backward()
    assert not logits.grad.any()


def test_knowing_nothing_of_even_classes_costs_ln_k():
    even = np.arange(300) % 3
    for loss in (built("cross_entropy"), built("cross_entropy", label_smoothing=0.1), built("weighted")):
        assert loss_of_knowing_nothing(loss, even, even, 3) == pytest.approx(np.log(3), rel=1e-5)
    assert loss_of_knowing_nothing(FocalLoss(2.0), even, even, 3) == pytest.approx((2 / 3) ** 2 * np.log(3), rel=1e-5)


def test_knowing_how_often_classes_come_is_knowing_nothing_too():
    uneven = np.repeat([0, 1], [900, 100])
    shares = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert loss_of_knowing_nothing(built("cross_entropy"), uneven, uneven, 2) == pytest.approx(shares, rel=1e-3)
    assert loss_of_knowing_nothing(built("cross_entropy"), uneven[::-1], 1 - uneven, 2) == pytest.approx(np.log(2))
