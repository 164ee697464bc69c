import pytest
from hydra.errors import HydraException

from pipeline.cli.space import Space, read_space, with_space
from pipeline.common.errors import BadInput


def test_what_has_several_values_is_gathered_and_the_rest_left_alone():
    typed = ["model=choice(a,b)", "seed=3", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "--cfg", "job"]
    assert with_space(typed) == [
        "tune.space=['model=choice(a,b)','optimizer.lr=tag(log,interval(1e-4,1e-1))']", "seed=3", "--cfg", "job",
    ]  # fmt: skip
    assert with_space(["seed=3"]) == ["seed=3"]


def test_hydras_words_become_numbers_and_choices():
    rate, epochs, share, head, sizes, free = read_space(
        ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "trainer.epochs=range(5,21,5)", "data.fraction=interval(0.1,1)",
         "head=linear,mlp", "head.hidden=[64],[64,32]", "++head.options.alpha=interval(1,9)"], None,
    )  # fmt: skip
    assert (rate.low, rate.high, rate.log) == (1e-4, 0.1, True)
    assert (epochs.low, epochs.high, epochs.step) == (5, 20, 5)
    assert (share.low, share.high, share.log) == (0.1, 1, False)
    assert head.choices == ("linear", "mlp")
    assert [sizes.override(one) for one in sizes.choices] == ["head.hidden=[64]", "head.hidden=[64,32]"]
    assert free.override(3) == "++head.options.alpha=3"
    assert rate.override(0.00123456) == "optimizer.lr=0.001235"  # as it is read, so it is run


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "there is nothing to search: give a key several values"),
        (["seed=3"], "seed=3: that is one value and nothing to search"),
        (["seed=choice(3)"], "that is 1 value"),
        (["x=interval(2,1)"], "from a smaller number to a greater one"),
        (["x=tag(log,interval(0,1))"], "on a logarithmic scale an interval begins above 0"),
        (["x=tag(log,choice(1,2))"], "log is of an interval"),
        (["x=1,2", "x=interval(1,2)"], "x is searched twice"),
        (["tracking.experiment=a,b"], "no setting of a training"),
    ],
)
def test_what_cannot_be_searched_is_named(lines, said):
    with pytest.raises(BadInput, match=said.replace("(", r"\(")):
        read_space(lines, None)


def test_a_typo_in_hydras_words_is_hydras_to_tell():
    with pytest.raises(HydraException, match="intervall"):
        with_space(["optimizer.lr=intervall(1e-4,1e-1)"])


def test_a_key_that_hangs_on_a_choice_is_drawn_only_with_it():
    searched = read_space(["head.C=interval(0.1,1.0)", "head=choice(linear,logistic)"], None)
    space = Space(searched, "head".__eq__, lambda chosen, one: chosen == ["head=logistic"])
    values = {"head": "linear", "head.C": 0.5}
    assert space.draw(lambda one: values[one.key]) == ["head=linear"]
    values["head"] = "logistic"
    assert space.draw(lambda one: values[one.key]) == ["head=logistic", "head.C=0.5"]
    assert space.samples() == [["head=linear"], ["head=logistic", "head.C=0.1"], ["head=logistic", "head.C=1.0"]]


def test_a_group_that_says_nothing_to_a_fitted_head_is_not_drawn_with_it():
    searched = read_space(["optimizer=choice(sgd,adam)", "head=choice(linear,logistic)"], None)
    space = Space(searched, {"head", "optimizer"}.__contains__, lambda chosen, one: chosen == ["head=linear"])
    together = [["head=linear", "optimizer=sgd"], ["head=linear", "optimizer=adam"], ["head=logistic"]]
    assert sorted(space.samples()) == sorted(together)
    assert sorted(space.drawn(given) for given in space.grid()) == sorted(together)


def test_a_grid_is_all_that_is_typed():
    searched = read_space(["trainer.epochs=range(5,16,5)", "data.fraction=range(0.1,0.3,0.1)", "seed=1,2"], None)
    space = Space(searched, bool, lambda chosen, one: True)
    assert [one["trainer.epochs"] for one in space.grid()] == [5] * 4 + [10] * 4 + [15] * 4
    assert {str(space.drawn(one)[1]) for one in space.grid()} == {"data.fraction=0.1", "data.fraction=0.2"}
    with pytest.raises(BadInput, match="seed: an interval has values without end"):
        Space(read_space(["seed=interval(1,2)"], None), bool, lambda chosen, one: True).grid()
