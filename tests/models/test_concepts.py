"""A head whose classes follow from attributes alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.data.rules import Rule
from pipeline.evaluation.agreement import Agreement
from pipeline.models.heads.concepts import Concepts

NAMES = ["red", "tail", "crest"]
KNOWN = pd.DataFrame([[1, 0, 0], [0, 1, 0.2], [0.9, 1, 1], [0, 0, 1]], columns=NAMES, dtype="float32")


def pictures(seed, each=40):
    """Features in which attributes are seen, beside others that mean nothing."""
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), each)
    seen = KNOWN.to_numpy()[labels] + 0.3 * chance.normal(size=(len(labels), 3))
    features = np.concatenate(
        [seen @ np.array([[2, 1, 0.0], [0, 1, 1], [1, 0, 3]]), chance.normal(size=(len(labels), 5))], 1
    )
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)


def head_of(known=KNOWN, **options):
    made = Concepts(8, 4, attributes=NAMES, **options)
    made.meet_attributes(known)
    return made


@pytest.fixture(scope="module")
def fitted():
    made = head_of()
    made.fit(*pictures(0))
    made.calibrate(*pictures(1))
    return made


def test_pictures_show_attributes_and_the_class_follows_from_them_alone(fitted):
    features, labels = pictures(2)
    assert float((fitted(features).argmax(1) == labels).float().mean()) > 0.85
    shares = fitted.shares(fitted.concepts(features))
    assert float((shares - torch.tensor(KNOWN.to_numpy())[labels]).abs().mean()) < 0.2
    torch.testing.assert_close(fitted(features), fitted.of_concepts(fitted.concepts(features)))


def test_what_attributes_add_comes_to_the_logit(fitted):
    features, labels = pictures(2)
    added, without = fitted.contributions(fitted.concepts(features), labels)
    own = fitted(features).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(added.sum(1) + without, own)


def test_attributes_put_right_make_answers_right(fitted):
    features, labels = pictures(3)
    concepts, truth = fitted.concepts(features), fitted.standardised(fitted.signatures)[labels]
    first = fitted.ask_first(concepts).argmax(1, keepdim=True)
    right = concepts.scatter(1, first, truth.gather(1, first))
    before, after = ((fitted.of_concepts(one).argmax(1) == labels).sum() for one in (concepts, right))
    assert after > before
    assert bool((fitted.of_concepts(truth).argmax(1) == labels).all())


def test_what_is_set_by_hand_stands_as_far_as_any_class_shows_it(fitted):
    features, labels = pictures(3)
    by_hand = fitted.signatures[labels]
    torch.testing.assert_close(fitted(features, by_hand), fitted.of_concepts(fitted.standardised(by_hand)))
    torch.testing.assert_close(fitted(features, torch.full_like(by_hand, torch.nan)), fitted(features))
    only = torch.full_like(by_hand, torch.nan)
    only[:, 0] = 1.0  # all of a class show it, of the others' crest at most all
    shares = fitted.shares(fitted.concepts(features, only))
    torch.testing.assert_close(shares[:, 0], torch.ones(len(labels)))
    torch.testing.assert_close(shares[:, 1:], fitted.shares(fitted.concepts(features))[:, 1:])


def test_attributes_of_pictures_are_learnt_from_these():
    features, labels = pictures(0)
    chance = np.random.default_rng(1)
    own = pd.DataFrame(np.where(chance.random((len(labels), 3)) < 0.3, np.nan, KNOWN.to_numpy()[labels]), columns=NAMES)
    own["tail"] = (features[:, 7] > 0).float().numpy()  # of which classes say nothing
    by_class = own.groupby(labels.numpy()).mean()
    made = head_of()
    made.meet_attributes(by_class, own)
    made.fit(features, labels, pictures=torch.arange(len(labels)))
    seen, _ = pictures(2)
    read = made.concepts(seen)[:, 1]
    assert float(torch.corrcoef(torch.stack([read, seen[:, 7]]))[0, 1]) > 0.7


def test_what_is_not_known_teaches_nothing():
    features, labels = pictures(0)
    hidden = KNOWN.copy()
    hidden.loc[2, "red"] = np.nan
    some, fewer = head_of(hidden), head_of()
    some.fit(features, labels)
    fewer.fit(features[labels != 2], labels[labels != 2])
    assert all(bool(value.isfinite().all()) for value in some.state_dict().values())
    torch.testing.assert_close(some.mean[0], fewer.mean[0])
    torch.testing.assert_close(some.concepts(features)[:, 0], fewer.concepts(features)[:, 0], atol=0.15, rtol=0)


def test_a_direct_path_tells_what_attributes_do_not():
    alike = KNOWN.copy()
    alike.loc[3] = alike.loc[0]  # no attribute tells the last class from the first
    (features, labels), (seen, truth) = pictures(0), pictures(4)
    plain, beside = head_of(alike), head_of(alike, residual=True)
    for made in (plain, beside):
        made.fit(features, labels)
    right, more = ((made(seen).argmax(1) == truth).float().mean() for made in (plain, beside))
    assert more > right
    concepts, direct = beside.concepts(seen), beside.direct(seen)
    torch.testing.assert_close(beside.of_concepts(concepts, direct), beside(seen))
    torch.testing.assert_close(beside.of_concepts(concepts), plain(seen))  # attributes say what they said without it
    share, changed = beside.decided_directly(concepts, direct)
    assert bool(((share >= 0) & (share <= 1)).all())
    torch.testing.assert_close(changed, plain(seen).argmax(1) != beside(seen).argmax(1))
    again = head_of(alike, residual=True)
    again.load_state_dict(beside.state_dict())
    torch.testing.assert_close(again(seen), beside(seen))


def test_punished_reasons_agree_more_with_what_is_known():
    features, labels = pictures(0)
    known = KNOWN.assign(crest=[0.4, 0.45, 1, 0.3])  # two show it more than others, and yet rarely
    found = []
    for agreement in (0.0, 20.0):
        made = head_of(known, agreement=agreement)
        made.fit(features, labels)
        concepts = made.concepts(features)
        added, _ = made.contributions(concepts, labels)
        share = Agreement.of(added.detach().numpy(), concepts.numpy(), made.knowledge[labels].numpy()).share
        found.append((share.mean(), float((made(features).argmax(1) == labels).float().mean())))
    (before, right), (after, still_right) = found
    assert after > before
    assert still_right > right - 0.1
    assert head_of(KNOWN.assign(red=np.nan)).knowledge[:, 0].tolist() == [0.0] * 4


def test_it_is_read_again_as_it_was(fitted):
    features, _ = pictures(2)
    again = head_of()
    again.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(again(features), fitted(features))


def test_a_class_without_pictures_is_unlikely():
    features, labels = pictures(0)
    made = head_of()
    made.fit(features[labels != 3], labels[labels != 3])
    logits = made(features)
    assert bool(logits.isfinite().all())
    assert not bool((logits[labels != 3].argmax(1) == 3).any())


def test_by_gradient_it_learns_what_it_learns_when_it_is_fitted():
    (features, labels), (seen, truth) = pictures(0), pictures(4)
    hidden = KNOWN.copy()
    hidden.loc[2, "red"] = np.nan
    torch.manual_seed(0)
    made = head_of(hidden, fitted=False, agreement=0.1).train()
    own = torch.arange(len(labels))
    made.begin(labels, own)
    torch.testing.assert_close(made.shares(made.concepts(features)).mean(0), made.mean, atol=0.02, rtol=0)
    solver = torch.optim.Adam(made.parameters(), lr=0.03)
    for _ in range(200):
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(made(features), labels)
        (loss + made.besides(labels, own)).backward()
        solver.step()
    made.eval()
    assert float((made(seen).argmax(1) == truth).float().mean()) > 0.85
    shares, known = made.shares(made.concepts(seen)).detach(), torch.tensor(KNOWN.to_numpy())[truth]
    assert float((shares - known).abs()[truth != 2].mean()) < 0.2
    added, without = made.contributions(made.concepts(seen), truth)
    torch.testing.assert_close(added.sum(1) + without, made(seen).gather(1, truth[:, None])[:, 0])
    again = head_of(hidden, fitted=False)
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again(seen), made(seen))


def test_by_gradient_what_is_not_known_teaches_nothing():
    features, labels = pictures(0)
    hidden = KNOWN.assign(red=[np.nan, 1, 0, np.nan])
    made = head_of(hidden, fitted=False).train()
    made.begin(labels, torch.arange(len(labels)))
    here = labels == 0
    made(features[here])
    made.besides(labels[here], torch.arange(int(here.sum()))).backward()
    assert float(made.weight.grad[0].abs().max()) == 0.0
    assert float(made.weight.grad[1].abs().min()) > 0.0


def test_what_is_read_as_less_than_none_is_none(fitted):
    ruled = head_of(rules=True)
    ruled.load_state_dict(fitted.state_dict() | {"rules": torch.tensor([Rule(0, 1, 1, 0.0), Rule(1, 1, -1, 1.0)])})
    beyond = ruled.standardised(torch.tensor([[0.5, -0.2, 0.5], [0.5, 1.2, 0.5]]))
    assert not bool(ruled.broken(beyond).any())
    ruled.rules[:, 3] = torch.tensor([0.1, 0.9])
    assert ruled.broken(beyond).tolist() == [[True, False], [False, True]]


def test_rules_of_an_earlier_version_overrule_as_they_did(fitted):
    features, _ = pictures(2)
    made, again = head_of(rules=True), head_of(rules=True)
    of_class = torch.zeros(4, 3, dtype=torch.int8)
    of_class[1, 0], of_class[1, 1] = 1, -1  # always red, never with a tail: as no bird of it is
    made.load_state_dict(fitted.state_dict() | {"rules": of_class})
    again.load_state_dict(made.state_dict())
    assert [Rule(*map(int, row[:3])) for row in again.rules.tolist()] == [Rule(1, 0, 1), Rule(1, 1, -1)]
    before, after = ((one(features).argmax(1) == 1).sum() for one in (fitted, made))
    assert after < before / 4
    torch.testing.assert_close(again(features), made(features))
