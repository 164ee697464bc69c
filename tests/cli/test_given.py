import pytest

from pipeline.cli.given import check_given, overrides_first
from pipeline.common.errors import BadInput


@pytest.mark.parametrize(
    ("typed", "multirun", "said"),
    [
        ("run=", False, "run= is empty"),
        ("=3", False, "=3: it names no key"),
        ("model={a:1}", False, "model={a:1}: an answer is the name of a file in conf/model/"),
        ("resume=''", False, "resume= is empty"),
        ("data.root=", False, "data.root= is empty"),
        ("+data.split.file=", False, "data.split.file= is empty"),
        ("augmentation=false", False, "augmentation=false: an answer is the name of a file in conf/augmentation/"),
        ("data=2021", False, "data=2021: an answer is"),
        ("model=null", False, "model=null: an answer is"),
        ("model=", False, "model= is empty"),
        ("model=resnet18,3", True, "model=3: an answer is"),
        ("model=[resnet18,squeezenet]", False, "to run each in turn: -m model=resnet18,squeezenet"),
        ("model=[resnet18]", True, "one answer at a time"),
        ("model=resnet18,squeezenet", False, "to run each in turn: -m model=resnet18,squeezenet"),
    ],
)
def test_slips_are_told_before_anything_is_composed(typed, multirun, said):
    with pytest.raises(BadInput) as told:
        check_given([typed], multirun=multirun)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "typed",
    ["model=resnet18,squeezenet", "model=glob(*)", "model=models:/a@b", "experiment=null", "seed=0,1", "-m", "run=abc",
     "tracking.run_name=", "data.root=a=b", "optimizer=adam", "data.classes=[a,b]"],
)  # fmt: skip
def test_what_hydra_takes_passes(typed):
    check_given([typed], multirun=True)


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("seed=0 -m model=a ~x", "seed=0 model=a ~x -m"),
        ("a=1 --cfg job b=2", "a=1 b=2 --cfg job"),
        ("--config-dir=conf -p data a=1", "a=1 --config-dir=conf -p data"),
        ("--info a=1", "a=1 --info"),
        ("--info config a=1", "a=1 --info config"),
        ("", ""),
    ],
)
def test_overrides_may_stand_on_both_sides_of_an_option(typed, ordered):
    assert overrides_first(typed.split()) == ordered.split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [("--foo", "unrecognized arguments: --foo"), ("seed=0 -c", "expected one argument"), ("-c nope", "'nope'")],
)
def test_an_option_that_is_none_is_told_in_a_line(typed, said):
    with pytest.raises(BadInput) as told:
        overrides_first(typed.split())
    assert said in str(told.value)
    assert str(told.value).endswith("; --help lists what can be given")
