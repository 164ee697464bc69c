import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config import schema
from pipeline.tracking.liveness import HOST, PROCESS, own_process
from pipeline.tracking.study import LEFT_OUT, Study, importances


def searched(trials=3, **answers):
    given = {"objective": "best/val_accuracy", "sampler": "random", "pruner": "none", "seed": 0, "confirm": 0}
    return schema.Search(space=[], trials=trials, **given | answers)


def drawn(study):
    trial = study.next_trial()
    return trial, trial and trial.suggest_float("x", 0, 1)


def test_processes_share_trials_and_a_dead_ones_is_taken_up_again(store, tmp_path):
    mine, other = Study("one", "1", searched()), Study("one", "1", searched())
    first, x = drawn(mine)
    second, y = drawn(other)
    assert (first.number, second.number) == (0, 1)
    assert x != y  # though both processes have the same seed
    dead = own_process() | {PROCESS: "1 0"}  # of this machine, and never was
    for key, value in dead.items():
        second.set_user_attr(key, value)
    mine.optuna.tell(first, 0.5)
    third, again = drawn(mine)
    assert again == y
    assert mine.frozen(1).state == TrialState.FAIL
    assert mine.frozen(1).user_attrs[LEFT_OUT] == "its process was ended"
    assert [one.number for one in other.counted()] == [0, 2]
    assert other.place(third) == 2
    last, _ = drawn(other)
    assert last.number == 3
    assert drawn(mine) == (None, None)  # three count
    assert mine.under_way()
    mine.optuna.tell(third, 0.7)
    other.optuna.tell(last, 0.6)
    assert not mine.under_way()
    assert mine.best().number == 2
    assert (tmp_path / "optuna.db").is_file()
    assert importances(mine) == pytest.approx({"x": 1.0})


def test_a_trial_of_a_machine_that_gives_signs_of_life_is_left_to_it(store):
    study = Study("elsewhere", "1", searched(1))
    trial, _ = drawn(study)
    trial.set_user_attr(HOST, "another")
    assert study.next_trial() is None
    trial.set_user_attr("process.heartbeat", "0")
    assert study.next_trial() is not None


def test_of_losses_the_least_is_the_best(store):
    study = Study("loss", "1", searched(objective="best/val_log_loss"))
    for value in (0.5, 0.2, 0.9):
        study.optuna.tell(drawn(study)[0], value)
    assert study.best().value == 0.2
    assert study.optuna.direction == optuna.study.StudyDirection.MINIMIZE


def test_of_a_grid_all_wait_from_the_start_and_each_is_run_once(store):
    settings = [{"x": number / 10} for number in range(5)]
    found = []
    for _ in range(2):  # two processes
        study = Study("grid", "1", searched(5, sampler="grid", pruner="halving"))
        study.wait_for(settings)
        for _ in range(3):
            trial, x = drawn(study)
            if trial:
                found.append(x)
                study.optuna.tell(trial, x)
    assert sorted(found) == [one["x"] for one in settings] != found
