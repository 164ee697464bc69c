"""A head whose classes follow from attributes alone."""

import numpy as np
import pandas as pd
import pytest
import torch

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
