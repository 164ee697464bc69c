"""From stored runs to an ensemble, its run and its served model, in a store of the test's own."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from stored import nearly

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.cli.quoting import quote_path
from pipeline.commands import ensemble, promote
from pipeline.common.errors import BadInput
from pipeline.config.defaults import flatten
from pipeline.config.keys import CONF
from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.data.split_files import keep_split
from pipeline.ensembles.scoring import said_of
from pipeline.experiment.build import split_pictures
from pipeline.experiment.voting import hold
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.models.saved import NetworkFacts, save_best
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.parquet import read_predictions, write_predictions
from pipeline.predictions.predictions import Predictions
from pipeline.serving.bundle import read_bundle
from pipeline.serving.calibration import Calibration
from pipeline.serving.from_run import assemble
from pipeline.tracking import sweeps
from pipeline.tracking.champion import champion
from pipeline.tracking.members import find_members
from pipeline.tracking.runs import tracked_run

CLASSES = ("auk", "bee-eater", "coot")


def composed(*overrides, command="ensemble"):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose(command, list(overrides)), command)


def made_up(seed, split, *, signal=1.0, classes=CLASSES, pictures=120):
    """Predictions that err independently for each seed, on the same pictures."""
    labels = np.random.default_rng(len(split)).integers(0, 3, pictures)
    logits = np.random.default_rng([seed, len(split)]).normal(size=(pictures, 3)).astype(np.float32)
    logits[np.arange(pictures), labels] += signal
    builder = PredictionsBuilder(classes)
    builder.add([f"{split}/{number}.jpg" for number in range(pictures)], labels, logits)
    return builder.finish()


def stored(seed, *, experiment="birds", signal=1.0, classes=CLASSES, splits=("val", "test"), **params):
    """A finished training run as `train` leaves it, with a small network that was never trained."""
    torch.manual_seed(seed)
    network = Classifier(NetworkSpec("torchvision/squeezenet1_0", 3, Preprocessing(image_size=32)))
    tags = {
        "stage": "train",
        "model": "squeezenet1_0",
        "regime": "scratch",
        "data": "birds",
        "data_digest": "d",
    }
    params = {"model.name": network.spec.name, "seed": seed, **params}
    with tracked_run(experiment, name=f"run {seed}", tags=tags, params=params) as run:
        save_best(run.folder / "checkpoints", network, NetworkFacts(network.spec, classes))
        (run.folder / "predictions").mkdir()
        for split in splits:
            made = made_up(seed, split, signal=signal, classes=classes)
            write_predictions(made, run.folder / "predictions" / f"{split}.parquet")
            if split == "val":
                run.log_metrics({"best/val_accuracy": float(made.correct.mean())})
    return run


def voted(client, *overrides):
    """What the command does; gives its run."""
    config = composed(*overrides)
    vote = hold(find_members(client, config), config)
    ensemble.show(vote)
    ensemble.keep(client, vote, config)
    experiment = client.get_experiment_by_name("birds").experiment_id
    return client.search_runs([experiment], "tags.stage = 'ensemble'", max_results=1)[0]


def test_three_runs_vote_are_kept_and_served(store, capsys):
    members = [stored(seed) for seed in range(3)]
    run = voted(store)
    assert "soft_vote" in capsys.readouterr().out
    folder = members[0].folder.parent.parent / run.info.run_id / "artifacts"
    table = pd.read_csv(folder / "ensemble" / "strategies.csv")
    chosen = table[table.kind == "strategy"].iloc[0]
    assert run.data.tags["strategy"] == chosen["name"]
    figures = run.data.metrics
    assert figures["best/val_accuracy"] == pytest.approx(chosen.val_accuracy)
    assert figures["test/accuracy"] == pytest.approx(chosen.test_accuracy)
    assert figures["gain/test_accuracy_low"] < figures["gain/test_accuracy"] < figures["gain/test_accuracy_high"]
    assert all(member.id in run.data.params["members"] for member in members)
    assert run.data.tags["data_digest"] == "d"
    for file in ("confusion_matrix.png", "class_report.csv", "ensemble/strategies.png"):
        assert (folder / file).stat().st_size > 0
    test = read_predictions(folder / "predictions" / "test.parquet")
    assert test.correct.mean() == pytest.approx(figures["test/accuracy"])

    best = champion(store, composed(command="promote"))
    assert best.info.run_id == run.info.run_id
    made = assemble(store, best, folder / "served")
    assert made.networks == 3
    assert made.figures["test/ece_calibrated"] < 0.2
    bundle = read_bundle(folder / "served")
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    shown = as_png(picture)
    with torch.no_grad():
        pixels = Inputs(Preprocessing(image_size=32).read(shown)[None])
        alone = [member(pixels).softmax(1).numpy() for member in bundle.members]
    ways = {member.spec.wants for member in bundle.members}
    found = said_of(bundle.members, bundle.rule, dict.fromkeys(ways, pixels))
    assert found.features is None  # several networks have none in common
    np.testing.assert_allclose(found.scores.exp(), bundle.rule(alone), rtol=1e-5)


def as_png(pixels):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_members_without_weight_are_not_served(store):
    strong, weak = stored(0, signal=4.0), stored(1, signal=-4.0)
    run = voted(store, "choose=greedy")
    recipe = json.loads((run_folder(strong, run) / "ensemble" / "recipe.json").read_text())
    assert recipe["members"] == [strong.id]
    assert weak.id in run.data.params["members"]


def run_folder(beside, run):
    return beside.folder.parent.parent / run.info.run_id / "artifacts"


def test_a_single_network_is_promoted_before_an_ensemble_that_is_no_better(store):
    alone = stored(0, signal=30.0)
    stored(1, signal=30.0)
    assert voted(store).data.metrics["best/val_accuracy"] == 1.0
    assert champion(store, composed(command="promote")).data.tags["stage"] == "train"
    assert champion(store, composed(f"run={alone.id}", command="promote")).info.run_id == alone.id


def log_ensemble(of, accuracy_of, name):
    """An ensemble's run whose stored val predictions are those given."""
    tags = {"stage": "ensemble", "strategy": "soft_vote"}
    with tracked_run("birds", name=name, tags=tags, params={"members": of}) as run:
        (run.folder / "predictions").mkdir()
        write_predictions(accuracy_of, run.folder / "predictions" / "val.parquet")
        run.log_metrics({"best/val_accuracy": float(accuracy_of.correct.mean())})
    return run.id


@pytest.mark.parametrize(("more", "stage"), [(1, "train"), (5, "train"), (6, "ensemble")])
def test_an_ensemble_is_promoted_for_more_than_chance_alone(more, stage, store, caplog):
    single, val = stored(0), made_up(0, "val")
    ensemble_id = log_ensemble([single.id], nearly(val, more), "three of them")
    with caplog.at_level("INFO"):
        chosen = champion(store, composed(command="promote"))
    assert chosen.data.tags["stage"] == stage
    said = f"the ensemble three of them gains {100 * more / len(val):+.1f} points of val accuracy over run 0, "
    assert said + ("more than chance" if stage == "ensemble" else "within chance (p = ") in caplog.text
    if stage == "train":
        assert f"the single network run 0 is promoted; promote run={ensemble_id} takes the ensemble" in caplog.text
    assert champion(store, composed(f"run={ensemble_id}", command="promote")).info.run_id == ensemble_id


def test_an_ensemble_of_other_pictures_is_not_promoted_by_itself(store, caplog):
    stored(0)
    log_ensemble([], nearly(made_up(1, "val", pictures=60), 60), "elsewhere")
    with caplog.at_level("INFO"):
        assert champion(store, composed(command="promote")).data.tags["stage"] == "train"
    assert "the ensemble elsewhere and the single network cannot be compared on val" in caplog.text


def test_runs_of_several_splits_are_promoted_with_a_warning(store, caplog):
    stored(0), stored(1)
    champion(store, composed(command="promote"))
    assert "data sets or splits" not in caplog.text
    stored(2, **{"data.split.seed": 1})
    champion(store, composed(command="promote"))
    assert "these runs are of 2 data sets or splits" in caplog.text
    with pytest.raises(BadInput, match="run and sweep both say which run"):
        champion(store, composed("run=a", "sweep=latest", command="promote"))


def test_a_sweep_a_filter_and_the_best_narrow_the_members(store):
    stored(0, **{"head.name": "linear"})
    parent = sweeps.open_sweep("birds", ["head=linear,mlp"], ["head=linear,mlp"])
    for seed, head in ((1, "linear"), (2, "mlp"), (3, "mlp")):
        stored(seed, signal=float(seed), **{"head.name": head})
    sweeps.close_sweep(parent)

    def chosen(*overrides):
        return list(find_members(store, composed(*overrides)))

    assert sorted(chosen()) == ["run 0", "run 1", "run 2", "run 3"]
    assert chosen("sweep=latest") == ["run 3", "run 2", "run 1"]
    assert chosen("best=2") == ["run 3", "run 2"]
    assert chosen("filter='params.head.name = \"mlp\"'", "sweep=latest") == ["run 3", "run 2"]
    run = voted(store, "sweep=latest")
    assert run.data.tags["sweep"] == parent
    assert champion(store, composed("sweep=latest", command="promote")).info.run_id in {
        run.info.run_id,
        *(child.info.run_id for child in sweeps.members(store, parent)),
    }


def test_an_empty_choice_says_what_would_match(store):
    for seed in range(2):
        stored(seed, **{"head.name": ("linear", "mlp")[seed]})
    with pytest.raises(BadInput, match=r"matches none of the 2 .*params\.head\.name = 'linear' \(or mlp\)"):
        find_members(store, composed(quote_path("filter=params.head.name = 'flatten'")))
    with pytest.raises(BadInput, match=r"MLflow cannot read it .*an example: params\.head\.name = 'mlp'"):
        find_members(store, composed("filter='head is mlp'"))
    with pytest.raises(BadInput, match="no run of experiment birds has it"):
        find_members(store, composed("metric=best/val_acuracy"))


def test_runs_by_id(store):
    first, second = stored(0), stored(1)
    found = find_members(store, composed(f"runs=[{first.id},{second.id}]"))
    assert [run.info.run_id for run in found.values()] == [first.id, second.id]
    made = voted(store, f"runs=[{first.id},{second.id}]")
    for ids, said in (
        (f"{first.id},{first.id}", "is named 2 times"),
        (f"{first.id},nothing", "runs: nothing: MLflow has no run of that id"),
        (f"{first.id},{made.info.run_id}", "that is an ensemble, not one network's training"),
    ):
        with pytest.raises(BadInput, match=said):
            find_members(store, composed(f"runs=[{ids}]"))
    with pytest.raises(BadInput, match="runs= names the members; leave best= out"):
        find_members(store, composed(f"runs=[{first.id}]", "best=2"))


def test_members_that_do_not_fit_are_named(store):
    def refused(said, *overrides):
        config = composed("tracking.experiment=birds", *overrides)
        with pytest.raises(BadInput, match=said):
            hold(find_members(store, config), config)

    first = stored(0)
    refused(r"one member \(run 0\) is no ensemble")
    order = stored(1, classes=("bee-eater", "auk", "coot"))
    refused(rf"run \d has the classes of run \d in another order", f"runs=[{first.id},{order.id}]")  # noqa: F541
    other = stored(2, classes=("auk", "bee-eater", "dodo"))
    refused(r"run 2 has other classes than run 0 \(lacks coot; adds dodo\)", f"runs=[{first.id},{other.id}]")
    blind = stored(3, splits=())
    refused(r"run 3 .*has no .*val", f"runs=[{first.id},{blind.id}]")
    broken = stored(4, signal=float("nan"))
    refused(r"run 4.*NaN", f"runs=[{first.id},{broken.id}]")
    no_test = stored(5, splits=("val",))
    refused(r"run 5 .*test", f"runs=[{first.id},{no_test.id}]")


def test_a_class_that_val_never_shows(store):
    for seed in range(2):
        run = stored(seed)
        val = made_up(seed, "val")
        write_predictions(val.take(val.labels != 2), run.folder / "predictions" / "val.parquet")
    with pytest.raises(BadInput, match=r"never shows coot .*use stacking"):
        voted(store, "choose=class_stacking")
    assert voted(store).info.status == "FINISHED"


def test_without_test_pictures_the_gain_is_that_on_val(store):
    for seed in range(2):
        stored(seed, splits=("val",))
    run = voted(store, "choose=soft_vote")
    assert "gain/val_accuracy" in run.data.metrics
    assert "test/accuracy" not in run.data.metrics


def test_a_member_that_is_gone_is_named_when_promoted(store, tmp_path):
    members = [stored(seed) for seed in range(2)]
    run = voted(store, "choose=soft_vote")
    (members[1].folder / "checkpoints" / "best.safetensors").unlink()
    with pytest.raises(BadInput, match=r"the weights of run 1 .*are gone"):
        assemble(store, run, tmp_path / "a")
    for file in (members[1].folder / "checkpoints").iterdir():
        file.unlink()
    (members[1].folder / "checkpoints").rmdir()
    with pytest.raises(BadInput, match=r"a member of the ensemble soft_vote of 2 is gone: run run 1 .*checkpoints"):
        assemble(store, run, tmp_path / "b")


def test_a_soup_is_one_network(store, tmp_path):
    small = ("model=squeezenet", "data.classes=3", "trainer.limit_batches=1", "trainer.batch_size=8")
    config = composed(*small, "trainer.accelerator=cpu", "trainer.num_workers=0", command="train")
    plain = config.model_dump(mode="json")
    members = [stored(seed, classes=("0", "1", "2"), **flatten({"data.classes": 3})) for seed in range(2)]
    for member in members:
        (member.folder / "config.yaml").write_text(yaml.safe_dump(plain))
        keep_split(split_pictures(config.data), member.folder)
        for split in ("val", "test"):
            (member.folder / "predictions" / f"{split}.parquet").write_bytes(b"")
    from pipeline.experiment.averaging import cook

    runs = {f"run {number}": store.get_run(member.id) for number, member in enumerate(members)}
    network, facts, answers = cook(runs)
    for split, made in (("val", answers.val), ("test", answers.test)):
        for number, member in enumerate(members):
            made_up(number, split, classes=facts.classes, pictures=len(made))
            one = Predictions(made.ids, made.labels, made.classes, made.logits + number)
            write_predictions(one, member.folder / "predictions" / f"{split}.parquet")
    run = voted(store, "choose=soup")
    assert run.data.tags["strategy"] == "soup"
    made = assemble(store, run, tmp_path / "served")
    assert made.networks == 1
    (served,) = read_bundle(tmp_path / "served").members
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, served.state_dict()[name])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("best=1", "best=1: should be greater than or equal to 2"),
        ("choose=vote", "choose=vote: should be"),
        ("strategies=[soft_votes]", "strategies.0=soft_votes: should be"),
    ],
)
def test_bad_input_as_a_user_types_it(argument, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.ensemble", argument],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("temperature", "said"), [(1.0, "stay as they are"), (1.3, "calibrated on val")])
def test_what_is_said_of_a_calibration(temperature, said, caplog):
    made = promote.Assembled((), 1, Calibration(temperature), {}, {})
    with caplog.at_level("INFO"):
        promote.describe_calibration(made)
    assert said in caplog.text
    assert f"temperature {temperature:.2f}" in caplog.text
