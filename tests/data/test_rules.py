"""Rules that overrule answers, from a file."""

import pytest

from pipeline.common.errors import BadInput
from pipeline.data.rules import read_rules

CLASSES, ATTRIBUTES = ["Auk", "crane"], ["red_wing", "has_bill::dagger"]


def test_a_file_of_rules(tmp_path):
    file = tmp_path / "rules.csv"
    file.write_text(
        "class,attribute,rule,weight\nauk,bill: dagger,Never,\ncrane,red_wing,always,1.5\ncrane,Red wing,always,1.5\n"
        "auk,red_wing,at most 0.4,\nauk,red_wing,At  least 0.2,2\n"
    )
    found = read_rules(str(file), CLASSES, ATTRIBUTES)
    assert [one.told(ATTRIBUTES[one.attribute]) for one in found] == [
        "never has_bill::dagger", "always red_wing (-1.5)", "at most 0.4 red_wing", "at least 0.2 red_wing (-2)",
    ]  # fmt: skip
    assert [one.label for one in found] == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dodo,red_wing,always", "there is no class 'dodo'"),
        ("auk,red_wings,always", "there is no attribute 'red_wings'; did you mean red_wing"),
        ("auk,red_wing,often", "there is no rule 'often'; it can be one of always, at least 0.5, at most 0.5, never"),
        ("auk,red_wing,at most 2", "'at most 2': a share is from 0 to 1"),
        ("auk,red_wing,at least 0.5\nauk,red_wing,at most 0.4", "both at most 0.4 and at least 0.5: keep one"),
        (
            "auk,red_wing,at least 0.5\nauk,red_wing,at least 0.4",
            "auk has two rules, at least 0.5 red_wing and at least 0.4 red_wing: keep one of them",
        ),
        ("auk,red_wing,always\nAuk,red wing,never", "red wing both always and never: keep one of the two rules"),
        ("auk,red_wing,always\nauk,red_wing,at most 0.4", "both at most 0.4 and always: keep one"),
        ("", "it has no rule below its titles"),
    ],
)
def test_what_no_rule_can_say(text, said, tmp_path):
    (tmp_path / "rules.csv").write_text(f"class,attribute,rule\n{text}\n")
    with pytest.raises(BadInput, match=said) as told:
        read_rules(str(tmp_path / "rules.csv"), CLASSES, ATTRIBUTES)
    assert "\n" not in str(told.value)


def test_a_column_that_no_rule_has_is_no_weight(tmp_path):
    (tmp_path / "rules.csv").write_text("class,attribute,rule,Weight\nauk,red_wing,always,1\n")
    with pytest.raises(BadInput, match="no column 'Weight' of rules; did you mean weight"):
        read_rules(str(tmp_path / "rules.csv"), CLASSES, ATTRIBUTES)


def test_a_weight_is_a_number(tmp_path):
    (tmp_path / "rules.csv").write_text("class,attribute,rule,weight\nauk,red_wing,always,much\n")
    with pytest.raises(BadInput, match="weight 'much': from 0 to 50, or blank to overrule"):
        read_rules(str(tmp_path / "rules.csv"), CLASSES, ATTRIBUTES)
