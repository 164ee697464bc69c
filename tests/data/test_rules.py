"""Rules that overrule answers, from a file."""

import pytest

from pipeline.common.errors import BadInput
from pipeline.data.rules import read_rules

CLASSES, ATTRIBUTES = ["Auk", "crane"], ["red_wing", "has_bill::dagger"]


def test_a_file_of_rules(tmp_path):
    file = tmp_path / "rules.csv"
    file.write_text("class,attribute,rule\nauk,bill: dagger,Never\ncrane,red_wing,always\ncrane,Red wing,always\n")
    assert read_rules(str(file), CLASSES, ATTRIBUTES).tolist() == [[0, -1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dodo,red_wing,always", "there is no class 'dodo'"),
        ("auk,red_wings,always", "there is no attribute 'red_wings'; did you mean red_wing"),
        ("auk,red_wing,often", "there is no rule 'often'; it can be one of always, never"),
        ("auk,red_wing,always\nAuk,red wing,never", "red wing both always and never: keep one of the two rules"),
        ("", "it has no rule below its titles"),
    ],
)
def test_what_no_rule_can_say(text, said, tmp_path):
    (tmp_path / "rules.csv").write_text(f"class,attribute,rule\n{text}\n")
    with pytest.raises(BadInput, match=said) as told:
        read_rules(str(tmp_path / "rules.csv"), CLASSES, ATTRIBUTES)
    assert "\n" not in str(told.value)
