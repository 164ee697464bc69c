"""What attributes say for and against a class."""

from dataclasses import replace

import pytest
import torch
from small_networks import network, of_attributes

from pipeline.data.batch import Inputs
from pipeline.data.rules import Rule
from pipeline.explaining.attributes import Broken, InWords, Spoke, in_words_of
from pipeline.explaining.looks import Look
from pipeline.serving.reasons import Reasons

CLASSES = ["auk", "bee eater", "crane"]


def shown(by_hand=None, pictures=4):
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (pictures, 3, 64, 64), dtype=torch.uint8, generator=chance)
    return Inputs(pixels, attributes=by_hand)


def test_what_attributes_add_and_what_is_without_them_come_to_the_logit():
    member, codes = of_attributes(), torch.tensor([0, 2, 1, 0])
    with torch.no_grad():
        logits = member(shown())[torch.arange(4), codes]
    words = in_words_of([member], {member.spec.wants: shown()}, codes, CLASSES)
    for (one,), logit in zip(words, logits.tolist(), strict=True):
        assert one.logit == pytest.approx(logit, abs=1e-5)
        assert one.without + sum(each.added for each in one.spoke) == pytest.approx(logit, abs=1e-5)
        plain = one.to_dict()
        told = sum(each["added"] for each in plain["for"] + plain["against"])
        assert plain["without"] + told + plain["others"] == pytest.approx(logit, abs=1e-5)
        assert all(each.added > 0 for each in one.in_favour)
        assert all(each.added < 0 for each in one.against)
        assert set(one.ask_first) == {"red_wing", "has_bill::dagger", "crest"}


def test_what_was_set_by_hand_is_said_and_not_asked_for():
    member, codes = of_attributes(), torch.tensor([1] * 4)
    by_hand = torch.full((4, 3), torch.nan)
    by_hand[1, 1] = 1.0
    first, second, *_ = in_words_of([member], {member.spec.wants: shown(by_hand)}, codes, CLASSES)
    assert not any(each.by_hand for each in first[0].spoke)
    (own,) = [each for each in second[0].spoke if each.by_hand]
    assert own.share == pytest.approx(0.9)  # as much as any class shows it
    assert f"bill: dagger (set by hand, {own.added:+.1f})" in " ".join(map(str, second[0].to_row().values()))
    assert "has_bill::dagger" not in second[0].ask_first


def test_a_direct_path_has_its_part_of_the_logit():
    member, codes = of_attributes(residual=True), torch.tensor([0, 2, 1, 0])
    with torch.no_grad():
        logits = member(shown())[torch.arange(4), codes]
    for (one,), logit in zip(
        in_words_of([member], {member.spec.wants: shown()}, codes, CLASSES), logits.tolist(), strict=True
    ):
        plain = one.to_dict()
        told = sum(each["added"] for each in plain["for"] + plain["against"])
        assert plain["without"] + told + plain["others"] + plain["direct"] == pytest.approx(logit, abs=1e-5)
        assert 0 < plain["direct_share"] < 1


def test_a_class_that_breaks_a_rule_is_no_answer_and_that_is_said():
    free, ruled, wants = of_attributes(), of_attributes(rules=True), of_attributes().spec.wants
    free.head.bias[0] = ruled.head.bias[0] = -9.0  # the first attribute is never seen
    with torch.no_grad():
        before = free(shown()).argmax(1)
    code, place = int(before[0]), 0
    ruled.head.rules = torch.tensor([Rule(code, place, 1)])
    with torch.no_grad():
        after = ruled(shown()).argmax(1)
    assert not bool((after == code).any())
    assert torch.equal(after[before != code], before[before != code])
    (one,) = in_words_of([ruled], {wants: shown()}, after, CLASSES)[0]
    assert one.overruled.startswith(f"{CLASSES[code]}: always ")
    assert one.to_row()["overruled"] == one.to_dict()["overruled"] == one.overruled
    by_hand = torch.full((4, 3), torch.nan)
    by_hand[0, place] = 1.0
    (word,) = in_words_of([ruled], {wants: shown(by_hand)}, before, CLASSES)[0]
    assert word.overruled is None


def test_a_rule_with_a_weight_takes_so_much_and_that_is_said():
    free, ruled = of_attributes(), of_attributes(rules=True)
    ruled.head.rules = torch.tensor([Rule(0, 0, -1, 0.0, 0.5), Rule(0, 2, 1, 1.0, 0.25), Rule(1, 1, 1, 0.0, 0.5)])
    with torch.no_grad():
        before, after = free(shown())[:, 0], ruled(shown())[:, 0]
        shares = free.head.shares(free.head.concepts(free.joined(shown())))
    torch.testing.assert_close(before - after, 0.5 * (shares[:, 0] > 0) + 0.25 * (shares[:, 2] < 1))
    codes = torch.tensor([0] * 4)
    for (one,), logit, share in zip(
        in_words_of([ruled], {ruled.spec.wants: shown()}, codes, CLASSES), after.tolist(), shares.tolist(), strict=True
    ):
        assert one.logit == pytest.approx(logit, abs=1e-5)
        plain = one.to_dict()
        told = sum(each["added"] for each in plain["for"] + plain["against"])
        assert plain["without"] + told + plain["others"] + plain["broken"]["added"] == pytest.approx(logit, abs=1e-5)
        assert ("at most 0 red wing (-0.5)" in one.to_row()["breaks"]) == (share[0] > 0)


def test_of_several_networks_those_with_attributes_speak():
    members = network("timm/test_resnet"), of_attributes(seed=1), of_attributes(seed=2)
    inputs = {member.spec.wants: shown() for member in members}
    said = in_words_of(members, inputs, torch.tensor([0, 1, 2, 0]), CLASSES)
    assert [len(one) for one in said] == [2] * 4
    assert in_words_of(members[:1], inputs, torch.tensor([0, 1]), CLASSES) == [(), ()]


@pytest.mark.parametrize(
    ("share", "usual", "word"),
    [(0.6, 0.2, "seen"), (0.3, 0.2, "more than usual"), (0.1, 0.2, "not seen"), (0.6, 0.8, "less than usual")],
)
def test_in_plain_words(share, usual, word):
    assert str(Spoke("has_wing_color::red", share, usual, -0.25, by_hand=False)) == f"wing color: red ({word}, -0.2)"


def test_a_line_has_the_first_network_and_the_rules_of_all():
    plain = InWords("one", 1.0, 1.0, (), (), 0.5)
    other = replace(
        plain, name="other", agreement=0.9, overruled="auk: always red", broken=Broken(("never red",), -1.0)
    )
    third = replace(other, overruled="crane: always red", broken=None)
    row = Reasons(Look("mean", torch.zeros(1, 1), torch.zeros(3, 1, 1)), (plain, other, third), "00001.jpg").to_row()
    assert row["agreement"] == 0.5
    assert row["overruled"] == "auk: always red | crane: always red"
    assert row["breaks"] == "never red"
    assert row["looked_at"] == "00001.jpg"
