import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression as Solver
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.common.errors import BadInput
from pipeline.models.heads.estimators import ESTIMATORS
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS, HeadSpec

# What takes its time by itself, made small.
FEW = {
    "AdaBoostClassifier": {"estimator": "AdaBoostClassifier", "options": {"n_estimators": 20}},
    "HistGradientBoostingClassifier": {"estimator": "HistGradientBoostingClassifier", "options": {"max_iter": 3}},
}


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
        "linear.weight": (classes, 6), "linear.bias": (classes,), "rooted": (),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["logistic", "prototype", "knn"])
def test_features_that_are_never_negative_are_taken_by_their_roots(name):
    features, labels = pictures()
    squares = features.abs().square()
    of_roots, of_squares = HeadSpec(name).build(6, 3), HeadSpec(name).build(6, 3)
    of_squares.fit(squares, labels)
    # One picture more, with features below 0, so that these are taken as they are.
    of_roots.fit(torch.cat([squares.sqrt(), torch.full((1, 6), -1e-6)]), torch.cat([labels, labels[:1]]))
    assert of_squares.rooted
    assert not of_roots.rooted
    with torch.no_grad():
        agree = of_squares(squares).argmax(1) == of_roots(squares.sqrt()).argmax(1)
        assert agree.float().mean() > 0.95
        earlier = {key: value for key, value in of_roots.state_dict().items() if key != "rooted"}
        of_squares.load_state_dict(earlier)
        assert torch.equal(of_squares(features), of_roots(features))


@pytest.mark.parametrize("there", [(0, 1, 3), (1, 3), (2,)])
def test_a_class_without_pictures_is_rare_and_not_impossible(there):
    features, labels = pictures(classes=len(there))
    head = fitted(features, torch.tensor(there)[labels], 4)
    with torch.no_grad():
        answers = head(features).softmax(1)
    missing = [code for code in range(4) if code not in there]
    assert 0 < answers[:, missing].max() <= 1 / len(features)
    assert answers[:, list(there)].argmax(1).eq(labels).float().mean() > 0.5


def test_a_feature_that_was_still_in_training_does_not_decide_about_other_pictures():
    features, labels = pictures()
    still = torch.zeros(len(features), 1)
    still[0] = 1e-4
    head = fitted(torch.cat([features, still], 1), labels, 3)
    with torch.no_grad():
        moved = head(torch.cat([features, torch.full_like(still, 1.0)], 1))
        kept = head(torch.cat([features, torch.zeros_like(still)], 1))
    assert (moved - kept).abs().max() < 1


_OWN = ("sklearn", "concepts")  # further below, with several estimators; in a file of its own, told of attributes
FITTED = [(name, {}) for name, kind in HEADS.items() if issubclass(kind, FittedHead) and name not in _OWN]
FITTED += [("sklearn", {"estimator": name}) for name in ESTIMATORS]


@pytest.mark.parametrize(("name", "options"), FITTED, ids=str)
@pytest.mark.parametrize("there", [(0, 1, 3), (1, 3)])
def test_what_a_fitted_head_knows_is_in_its_state(name, options, there, tmp_path):
    features, labels = pictures(classes=len(there))
    labels = torch.tensor(there)[labels]
    spec = HeadSpec.from_dict(
        json.loads(json.dumps(HeadSpec(name, FEW.get(options.get("estimator"), options)).to_dict()))
    )
    one, other = spec.build(6, 4), spec.build(6, 4)
    one.fit(features[:60], labels[:60])
    before = one(features).argmax(1)
    one.calibrate(features[60:], labels[60:])
    answers = one(features)
    assert torch.equal(answers.argmax(1), before)
    assert answers.isfinite().all()
    if name not in ("pretrained", "text"):  # which learn nothing
        assert answers.argmax(1).eq(labels).float().mean() > 0.5
        assert torch.isin(answers.argmax(1), torch.tensor(there)).all()
    save_file({key: tensor.contiguous() for key, tensor in one.state_dict().items()}, tmp_path / "head.safetensors")
    with torch.device("meta"):  # as weights are checked
        spec.build(6, 4).load_state_dict(load_file(tmp_path / "head.safetensors"), assign=True)
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(other(features), answers)


def test_the_strength_is_chosen_by_pictures_left_out_and_never_by_another_view_of_them(caplog):
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    noise = torch.randn(40, 30, generator=chance)  # nothing can be learnt: the strongest penalty is best
    caplog.set_level("INFO")

    def chosen(*arguments, **more):
        caplog.clear()
        HeadSpec("logistic", {"C": "auto"}).build(arguments[0].shape[1], 3).fit(*arguments, **more)
        return float(re.search(r"head\.C=([\d.e-]+) was chosen", caplog.text)[1])

    assert chosen(noise, labels) == pytest.approx(10**-2.5, rel=0.01)
    assert chosen(*pictures()) > 0.01
    twice, of = torch.cat([noise, noise]), torch.arange(40).repeat(2)
    assert chosen(twice, labels.repeat(2), pictures=of) == pytest.approx(10**-2.5, rel=0.01)
    caplog.clear()
    HeadSpec("logistic").build(30, 2).fit(noise[:2], labels[:2])
    assert "too few to choose by" in caplog.text


@pytest.mark.parametrize("n_features", [20, 400])  # fewer and more than pictures
def test_a_strength_that_is_settled_is_kept_and_what_was_tried_changes_nothing(n_features, caplog):
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    features = torch.randn(90, n_features, generator=chance) + 0.5 * labels[:, None]
    caplog.set_level("INFO")
    alone = HeadSpec("logistic").build(n_features, 4)
    alone.fit(features, labels)
    head = HeadSpec("logistic").build(n_features, 4)
    head.settle(features, labels)
    assert caplog.text.count("was chosen") == 2
    head.tried = True
    head.fit(features * torch.linspace(0.5, 2, n_features), labels)
    head.fit(features[labels < 2], labels[labels < 2])  # a class fewer
    head.tried = False
    head.fit(features, labels)
    assert caplog.text.count("was chosen") == 2
    torch.testing.assert_close(head.linear.weight, alone.linear.weight, atol=1e-3, rtol=1e-2)


def test_a_wrong_label_that_the_network_is_sure_about_is_a_large_loss_and_not_an_infinite_one(caplog):
    labels = torch.arange(60) % 2
    features = (labels[:, None] - 0.5) + 0.1 * torch.randn(60, 400, generator=torch.Generator().manual_seed(0))
    features[0] = 30 * features[1]  # of the other class, beyond doubt
    caplog.set_level("INFO")
    HeadSpec("logistic").build(400, 2).fit(features, labels)
    assert re.search(r"log loss [\d.]+, the least [\d.]+ \+- [\d.]+", caplog.text)


def test_prototypes_are_simpleshots():
    features, labels = pictures(classes=3)
    head = HeadSpec("prototype").build(6, 3)
    head.fit(features[:60], labels[:60])
    moved = features - features[:60].mean(0)
    moved = moved / moved.norm(dim=1, keepdim=True)
    means = torch.stack([moved[:60][labels[:60] == code].mean(0) for code in range(3)])
    nearest = torch.cdist(moved, means / means.norm(dim=1, keepdim=True)).argmin(1)
    assert torch.equal(head(features).argmax(1), nearest)
    head.calibrate(features[60:], labels[60:])
    held = head(features[60:])
    losses = [torch.nn.functional.cross_entropy(held * factor, labels[60:]) for factor in (0.5, 1, 2)]
    assert losses[1] == min(losses)


def test_one_neighbour_is_the_nearest_by_cosine_and_how_many_is_chosen(caplog):
    features, labels = pictures()
    head = HeadSpec("knn", {"k": 1}).build(6, 3)
    head.fit(features, labels)
    assert torch.equal(head(features).argmax(1), labels)  # each is its own nearest
    caplog.set_level("INFO")
    head = HeadSpec("knn").build(6, 3)
    head.fit(features.repeat(2, 1), labels.repeat(2), pictures=torch.arange(90).repeat(2))
    assert int(re.search(r"head\.k=(\d+) was chosen", caplog.text)[1]) > 1


def test_an_estimator_follows_the_seed_its_options_and_the_weights():
    features, labels = pictures()

    def answers(seed, weights=None, **options):
        torch.manual_seed(seed)
        head = HeadSpec(
            "sklearn", {"estimator": "RandomForestClassifier", "options": {"n_estimators": 5} | options}
        ).build(6, 3)
        head.fit(features, labels, weights=weights)
        return head(features)

    assert torch.equal(answers(0), answers(0))
    for other in (answers(1), answers(0, max_depth=1), answers(0, torch.tensor([9.0, 1.0, 1.0])[labels])):
        assert not torch.equal(other, answers(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"estimator": "RandomForest"}, "head.estimator=RandomForest: no such estimator; did you mean RandomForestCl"),
        (
            {"estimator": "SVC", "options": {"gama": 1}},
            "options.gama: SVC takes no such option; did you mean gamma",
        ),
        ({"estimator": "SVC", "options": {"C": -1}}, r"head\.options: The 'C' parameter of SVC must be"),
    ],
    ids=str,
)
def test_an_estimator_that_cannot_be_is_told(options, said):
    with pytest.raises(BadInput, match=said):
        HeadSpec("sklearn", options).build(6, 3)


def test_what_no_estimator_is_made_of_is_not_read():
    import skops.io as skops

    head = HeadSpec("sklearn", {"estimator": "GaussianNB"}).build(6, 3)
    head.fit(*pictures())
    stored = head.state_dict()
    stored["stored"] = torch.frombuffer(bytearray(skops.dumps(print)), dtype=torch.uint8)
    with pytest.raises(BadInput, match="head=sklearn: the stored estimator cannot be read"):
        head.load_state_dict(stored)


def mapped(classes, rows=None, folder=None):
    options = {}
    if rows is not None:
        file = folder / "mapping.csv"
        file.write_text("class,imagenet\n" + "".join(f"{one},{other}\n" for one, other in rows))
        options = {"mapping": str(file)}
    head = HeadSpec("pretrained", options).build(1000, len(classes))
    head.meet(classes)
    return head


def test_the_networks_own_answers_are_summed_by_class(tmp_path):
    rows = [("cat", "281-284"), ("cat", "Egyptian_cat"), ("dog", "n02085620"), ("dog", "golden retriever")]
    head = mapped(["cat", "dog"], rows, tmp_path)
    own = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0))
    likely = own.softmax(1)
    expected = torch.stack([likely[:, 281:286].sum(1), likely[:, [151, 207]].sum(1)], 1)
    assert torch.allclose(head(own).softmax(1), expected / expected.sum(1, keepdim=True), atol=1e-6)
    assert mapped(["Tinca_tinca", "cock"]).stands_for[:2].tolist() == [0, 2]
    assert mapped(["Tinca_tinca", "cock"]).stands_for[7] == 1


@pytest.mark.parametrize(
    ("classes", "rows", "said"),
    [
        (["7", "tench"], None, "class 7: ImageNet has no class 7; a CSV"),
        (["crane", "tench"], None, "crane: ImageNet has several classes crane: n02012849 and n03126707; say which"),
        (["cat", "dog"], [("cat", "281")], r"head\.mapping=.*: the class dog is missing"),
        (["cat", "dog"], [("cat", "281"), ("dog", "tabby")], "ImageNet's class 281 is given to cat and to dog"),
        (["cat", "dog"], [("cat", "281"), ("dog", "goldn retriever")], "no class goldn retriever; did you mean golden"),
    ],
    ids=str,
)  # fmt: skip
def test_a_class_that_stands_for_nothing_is_named(classes, rows, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        mapped(classes, rows, tmp_path)


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
