import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression as Solver
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.common.errors import BadInput
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS, HeadSpec


def pictures(n=90, features=6, classes=3, seed=0):
    """Features (n, features) of scales from 0.5 to 3 about 2, and labels (n,) that can be told from them."""
    chance = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    values = chance.normal(size=(n, features)) + np.eye(classes, features)[labels]
    return torch.tensor(2 + values * np.linspace(0.5, 3, features)).float(), torch.tensor(labels)


def fitted(features, labels, classes, weights=None, **options):
    head = HeadSpec("logistic", options).build(features.shape[1], classes)
    head.fit(features, labels, weights=weights)
    return head


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_answers_as_scikit_learns_on_standardised_features(classes, weighted):
    features, labels = pictures(classes=classes)
    weights = torch.tensor([3.0, 1.0, 0.5])[labels] if weighted else None
    head = fitted(features, labels, classes, weights, C=0.3)
    theirs = make_pipeline(StandardScaler(), Solver(C=0.3, tol=1e-6, max_iter=1000))
    theirs.fit(features.double(), labels, logisticregression__sample_weight=weights)
    with torch.no_grad():
        mine = head(features).softmax(1)
    assert mine.numpy() == pytest.approx(theirs.predict_proba(features.double()), abs=2e-3)
    assert {name: tuple(one.shape) for name, one in head.state_dict().items()} == {
        "linear.weight": (classes, 6), "linear.bias": (classes,),
    }  # fmt: skip


@pytest.mark.parametrize("there", [(0, 1, 3), (1, 3), (2,)])
def test_a_class_without_pictures_is_rare_and_not_impossible(there):
    features, labels = pictures(classes=len(there))
    head = fitted(features, torch.tensor(there)[labels], 4)
    with torch.no_grad():
        answers = head(features).softmax(1)
    missing = [code for code in range(4) if code not in there]
    assert 0 < answers[:, missing].max() <= 1 / len(features)
    assert answers[:, list(there)].argmax(1).eq(labels).float().mean() > 0.6


def test_a_feature_that_was_still_in_training_does_not_decide_about_other_pictures():
    features, labels = pictures()
    still = torch.zeros(len(features), 1)
    still[0] = 1e-4
    head = fitted(torch.cat([features, still], 1), labels, 3)
    with torch.no_grad():
        moved = head(torch.cat([features, torch.full_like(still, 1.0)], 1))
        kept = head(torch.cat([features, torch.zeros_like(still)], 1))
    assert (moved - kept).abs().max() < 1


def test_what_a_fitted_head_knows_is_in_its_state():
    features, labels = pictures()
    for name, kind in HEADS.items():
        if not issubclass(kind, FittedHead):
            continue
        spec = HeadSpec.from_dict(json.loads(json.dumps(HeadSpec(name).to_dict())))
        one, other = spec.build(6, 3), spec.build(6, 3)
        one.fit(features, labels)
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(features), other(features))


def test_specs_of_earlier_versions_are_read():
    earlier = {"name": "mlp", "hidden": [8, 4], "dropout": 0.1}
    spec = HeadSpec.from_dict(earlier)
    assert spec.to_dict() == earlier
    assert list(spec.build(5, 3).state_dict()) == [
        f"{layer}.{part}" for layer in (1, 4, 7) for part in ("weight", "bias")
    ]


def test_a_head_of_another_version_is_named():
    with pytest.raises(BadInput, match=r"head\.name=logistik: no such head; did you mean logistic"):
        HeadSpec.from_dict({"name": "logistik"})
