import json

import pytest

from pipeline.common.errors import BadInput
from pipeline.ensembles.recipe import FILE, Recipe, without_idle
from pipeline.ensembles.rules import HardVote, SharedStack, SoftVote


@pytest.mark.parametrize("rule", [HardVote(), SoftVote(), SoftVote((0.25, 0.75)), SharedStack((1.0, 0.5))])
def test_it_is_the_same_when_read_again(rule, tmp_path):
    Recipe(rule, ("a", "b")).write(tmp_path)
    assert Recipe.read(tmp_path) == Recipe(rule, ("a", "b"))


def test_another_version_and_what_is_damaged_are_refused(tmp_path):
    with pytest.raises(BadInput, match="is missing"):
        Recipe.read(tmp_path)
    Recipe(HardVote(), ("a",)).write(tmp_path)
    plain = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(plain | {"format_version": 9}))
    with pytest.raises(BadInput, match="format_version 9; this version reads 1"):
        Recipe.read(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(plain | {"rule": {"format_version": 1, "rule": "coin"}}))
    with pytest.raises(BadInput, match="rule coin"):
        Recipe.read(tmp_path)
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(BadInput, match="describes no ensemble"):
        Recipe.read(tmp_path)


def test_members_without_weight_are_left_out():
    assert without_idle(SoftVote((0.5, 0.0, 0.5)), "abc") == (SoftVote((0.5, 0.5)), ["a", "c"])
    assert without_idle(SharedStack((0.0, 2.0)), "ab") == (SharedStack((2.0,)), ["b"])
    for rule in (HardVote(), SoftVote(), SharedStack((0.0, 0.0))):
        assert without_idle(rule, "ab") == (rule, ["a", "b"])
