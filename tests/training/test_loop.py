import math
from itertools import islice

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from torch import nn

from pipeline.common.errors import Stopped
from pipeline.data.batch import Inputs
from pipeline.training.loop import Progress, measure, predict
from pipeline.training.tally import GradientNorms


def test_fit_is_a_generator_that_yields_an_epoch_as_it_ends(trial):
    one = trial(epochs=5)
    records = list(islice(iter(one), 2))
    assert [record.epoch for record in records] == [1, 2]
    assert one.train.epochs == [1, 2]  # the third has not begun


def test_training_learns_and_says_so(trial):
    records = list(trial(epochs=30, lr=1.0))
    assert records[-1].train_loss < records[0].train_loss / 2
    assert records[-1].val_accuracy > 0.8
    assert records[0].improved


def test_a_records_metrics_bear_the_tracked_names(trial):
    few, many = (next(iter(trial(classes=classes))).metrics() for classes in (3, 4))
    assert set(few) == set(many) == {
        "train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "images_per_second",
        "gradient_norm", "gradient_norm_max",
    }  # fmt: skip


def test_top5_from_six_classes_up(trial, points, line):
    network = line(4, 6)
    record = next(iter(trial(network=network, train=points(), val=points())))
    assert record.val_accuracy <= record.metrics()["val/top5_accuracy"] <= 1


def test_figures_are_means_over_pictures_not_over_batches(trial, points):
    one = trial()
    uneven, whole = points(pictures=13, batch_size=5, seed=3), points(pictures=13, batch_size=13, seed=3)
    loss = nn.CrossEntropyLoss()
    assert measure(one.module, uneven, fabric=one.fabric, loss=loss)[:2] == pytest.approx(
        measure(one.module, whole, fabric=one.fabric, loss=loss)[:2], rel=1e-6
    )


def test_accumulating_batches_is_the_large_batch(trial, points):
    small, large = trial(accumulate=4, train=points(32, 8)), trial(train=points(32, 32))
    for _ in zip(small, large, strict=True):
        torch.testing.assert_close(small.weights(), large.weights())


def test_what_is_left_of_an_accumulation_at_an_epochs_end_is_a_step_too(trial, points):
    one = trial(accumulate=3, train=points(32, 8), epochs=1)
    steps = []
    one.schedule.step = lambda: steps.append(1)
    list(one)
    assert len(steps) == 2


def test_an_epoch_of_fewer_batches_than_were_announced_ends_in_a_step_and_a_look_at_the_loss(trial, points):
    """As where all pictures of a batch turn out to be damaged."""

    class Fewer(points):
        def __iter__(self):
            return islice(super().__iter__(), 3)

    one = trial(accumulate=2, train=Fewer(32, 8), epochs=1)
    list(one)
    assert all(weight.grad is None for weight in one.network.parameters())
    train = Fewer(32, 8)
    train.inputs[0] = math.nan
    with pytest.raises(Stopped, match="by batch 3"):
        list(trial(train=train, epochs=1))


def test_clipping_bounds_a_steps_length(trial, points):
    before = trial(lr=1.0).weights()
    for clip_norm, longest in ((1e-3, 1e-3), (None, math.inf)):
        one = trial(lr=1.0, clip_norm=clip_norm, epochs=1, train=points(32, 32))
        list(one)
        length = (one.weights() - before).norm().item()
        assert length <= longest * 1.001
        assert clip_norm or length > 1e-2


def steps_of(one, points):
    """The gradients' lengths of an epoch of plain steps, by hand."""
    network, found = one.network, []
    for batch in points:
        network.zero_grad()
        nn.CrossEntropyLoss()(network(batch.inputs), batch.labels).backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
        found.append(gradient.norm().item())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(parameter.grad, alpha=0.1)
    return found


@pytest.mark.parametrize("clip_norm", [None, 1e6])
def test_the_gradients_length_is_kept_an_epoch(clip_norm, trial, points):
    norms = steps_of(trial(lr=0.1), points())
    record = next(iter(trial(lr=0.1, epochs=1, clip_norm=clip_norm)))
    assert record.gradient_norm == pytest.approx(sum(norms) / len(norms))
    assert record.gradient_norm_max == pytest.approx(max(norms))


def test_a_clipped_gradients_length_is_that_before_it_is_cut(trial):
    free, cut = (next(iter(trial(epochs=1, lr=1e-9, clip_norm=norm))) for norm in (None, 1e-3))
    assert cut.gradient_norm == pytest.approx(free.gradient_norm)


def test_in_half_precision_it_is_that_of_the_unscaled_gradient(trial):
    plain = next(iter(trial(epochs=1)))
    half = trial(epochs=1, fabric=Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu")]))
    before = half.weights()
    record = next(iter(half))
    assert not torch.equal(half.weights(), before)
    assert record.gradient_norm == pytest.approx(plain.gradient_norm, rel=0.01)


def test_steps_that_are_not_finite_do_not_count():
    norms = GradientNorms()
    assert norms.mean_and_largest() == (None, None)
    for norm in (1.0, math.inf, 3.0, math.nan):
        norms.add(torch.tensor(norm))
    assert norms.mean_and_largest() == (2.0, 3.0)


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_loss_that_is_no_number_stops_the_run_and_says_what_to_try(where, trial, points):
    train = points()
    train.inputs[0 if where == "first" else -1] = math.nan
    with pytest.raises(Stopped, match=r"no number in epoch 1 .*try a smaller optimizer\.lr"):
        list(trial(train=train))


def test_early_stopping_counts_epochs_without_a_better_val(trial):
    progress = Progress()
    records = list(trial(epochs=50, lr=1e-12, patience=3, progress=progress))
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert progress.best_epoch == 1


def test_a_stage_has_its_own_epochs_and_patience_after_one_that_stopped_early(trial):
    progress = Progress()
    list(trial(epochs=50, lr=1e-12, patience=2, progress=progress))
    progress.enter(1)
    assert [record.epoch for record in trial(epochs=5, lr=1e-12, patience=2, progress=progress)] == [4, 5]
    progress.enter(2)
    assert [record.epoch for record in trial(epochs=1, progress=progress)] == [6]


def test_patience_is_not_counted_anew_by_a_run_that_goes_on():
    progress = Progress(epoch=5, best_epoch=3)
    assert progress.out_of(2)
    assert not progress.out_of(3)
    assert not progress.out_of(None)


def test_the_best_epoch_is_by_val_accuracy_then_loss_and_of_equals_the_first():
    progress = Progress()
    figures = [(0.5, 1.0), (0.5, 1.0), (0.5, 0.9), (0.4, 0.1), (0.6, 2.0), (0.6, 2.0)]
    better = [progress.note(epoch, *figure) for epoch, figure in enumerate(figures, start=1)]
    assert better == [True, False, True, False, True, False]
    assert (progress.best_epoch, progress.best_val_accuracy, progress.best_val_loss) == (5, 0.6, 2.0)


def test_limit_batches_makes_a_smoke_test(trial, monkeypatch):
    seen = []

    def watch(batches, what, times):
        for batch in batches:
            seen.append(what)
            yield batch

    monkeypatch.setattr("pipeline.training.loop.watch", watch)
    list(trial(epochs=1, limit_batches=2))
    assert seen == ["epoch 1/1"] * 2 + ["val"] * 2


def test_predicting_changes_nothing_and_keeps_the_order(trial, points, line):
    network = nn.Sequential(line(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    one = trial(network=network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rows, labels, logits = (
        torch.cat(part) for part in zip(*predict(one.module, points(), fabric=one.fabric), strict=True)
    )
    assert rows.tolist() == list(range(32))
    assert torch.equal(labels, points().labels)
    torch.testing.assert_close(
        logits, network.eval()(Inputs(features=points().inputs))
    )  # batches of another size round differently
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
