import math
from itertools import pairwise

import pytest
import torch

from pipeline.training.optimization import Schedule, build_optimizer

STEPS = 4  # an epoch


def run(name, *, epochs=6, val_losses=None, reloaded_after=None, **options):
    """The learning rate at each step of a run."""
    optimizer, schedule = made(name, epochs, options)
    rates = []
    for epoch in range(epochs):
        if epoch == reloaded_after:
            states = optimizer.state_dict(), schedule.state_dict()
            optimizer, schedule = made(name, epochs, options)
            optimizer.load_state_dict(states[0])
            schedule.load_state_dict(states[1])
        for _ in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        schedule.end_epoch(val_losses[epoch] if val_losses else 1.0)
    return rates


def made(name, epochs, options):
    optimizer = build_optimizer("sgd", [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1.0}])
    return optimizer, Schedule(optimizer, name, epochs=epochs, steps_per_epoch=STEPS, **options)


def test_constant_stays():
    assert set(run("constant")) == {1.0}


def test_warm_up_rises_in_a_straight_line():
    rates = run("constant", warmup_epochs=2)
    steps = [later - earlier for earlier, later in pairwise(rates[:9])]
    assert rates[0] == pytest.approx(0.01)
    assert steps == pytest.approx([0.99 / 8] * 8)
    assert rates[8:] == pytest.approx([1.0] * 16)


def test_step_cuts_every_step_epochs():
    rates = run("step", step_epochs=2, gamma=0.1)
    assert rates == pytest.approx([1.0] * 8 + [0.1] * 8 + [0.01] * 8)


def test_multistep_cuts_at_shares_of_the_epochs_warm_up_or_not():
    rates = run("multistep", epochs=10, milestones=[0.7, 0.9], gamma=0.1)
    assert rates == pytest.approx([1.0] * 28 + [0.1] * 8 + [0.01] * 4)
    assert run("multistep", epochs=10, milestones=[0.7, 0.9], warmup_epochs=1)[4:] == pytest.approx(rates[4:])


def test_cosine_ends_at_its_floor_after_its_warm_up():
    rates = run("cosine", warmup_epochs=1, min_factor=0.2)
    assert rates[STEPS] == pytest.approx(1.0)
    assert rates[STEPS + 10] == pytest.approx(0.6)  # half-way
    last = 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 19 / 20))
    assert rates[-1] == pytest.approx(last)
    assert all(later <= earlier for earlier, later in pairwise(rates[STEPS:]))


def test_onecycle_is_torchs_and_rises_for_its_warm_up():
    rates = run("onecycle", warmup_epochs=2)
    assert rates.index(max(rates)) in (7, 8)
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[-1] < 0.02


def test_plateau_cuts_when_the_val_loss_does_not_fall():
    rates = run("plateau", gamma=0.1, patience=1, val_losses=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert rates == pytest.approx([1.0] * 12 + [0.1] * 8 + [0.01] * 4)
    assert set(run("plateau", gamma=0.1, patience=1, val_losses=[6, 5, 4, 3, 2, 1])) == {1.0}


def test_plateau_cuts_after_a_warm_up_too():
    rates = run("plateau", warmup_epochs=1, gamma=0.5, patience=0, val_losses=[5, 4, 4, 3, 2, 1])
    assert rates[4:12] == pytest.approx([1.0] * 8)
    assert rates[12:] == pytest.approx([0.5] * 12)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("constant", {"warmup_epochs": 3}),
        ("step", {"step_epochs": 2, "gamma": 0.1, "warmup_epochs": 1}),
        ("cosine", {"warmup_epochs": 1}),
        ("onecycle", {"warmup_epochs": 2}),
        ("plateau", {"patience": 0, "gamma": 0.5, "warmup_epochs": 1}),
    ],
)
@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_schedule_goes_on_where_it_was(name, options, epoch):
    assert run(name, reloaded_after=epoch, **options) == run(name, **options)


@pytest.mark.parametrize("name", ["constant", "step", "cosine", "onecycle", "plateau"])
def test_one_step_in_all_is_enough(name):
    optimizer = build_optimizer("sgd", [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1.0}])
    schedule = Schedule(optimizer, name, epochs=1, steps_per_epoch=1, warmup_epochs=3)
    optimizer.step()
    schedule.step()
    schedule.end_epoch(1.0)
    assert optimizer.param_groups[0]["lr"] >= 0


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimizers_by_name(name, kind):
    optimizer = build_optimizer(
        name, [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5, "weight_decay": 0.1}]
    )
    assert isinstance(optimizer, kind)
    assert optimizer.param_groups[0]["lr"] == 0.5
