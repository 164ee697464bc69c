import pytest

from pipeline.cli.given import check_given
from pipeline.common.errors import BadInput


@pytest.mark.parametrize(
    ("typed", "multirun", "said"),
    [
        ("run=", False, "run= is empty"),
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
