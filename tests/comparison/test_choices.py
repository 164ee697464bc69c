from pipeline.comparison.choices import short_value, telling_keys


def run(**changes):
    base = {"model.name": "torchvision/a", "optimizer.name": "sgd", "optimizer.momentum": "0.9", "optimizer.lr": "0.1"}
    return base | {key.replace("__", "."): value for key, value in changes.items()}


def test_what_all_share_and_what_changes_no_figure_tells_nothing():
    runs = [
        run(tracking__run_name="x", trainer__num_workers="1"),
        run(tracking__run_name="y", trainer__num_workers="2"),
    ]
    assert telling_keys(runs) == []


def test_a_key_that_follows_from_names_is_left_out_unless_it_was_typed():
    adam = run(optimizer__name="adam", optimizer__lr="0.001", trainer__epochs="5")
    del adam["optimizer.momentum"]
    runs = [run(trainer__epochs="9"), adam]
    assert telling_keys(runs) == ["optimizer.name"]
    assert telling_keys(runs, frozenset({"trainer.epochs"})) == ["optimizer.name", "trainer.epochs"]
    assert telling_keys([*runs, run(trainer__epochs="5")]) == ["optimizer.name", "trainer.epochs"]


def test_the_weights_of_each_model_go_without_saying():
    runs = [run(model__weights_file="/w/a.pth"), run(model__name="torchvision/b", model__weights_file="/w/b.pth")]
    assert telling_keys(runs, frozenset({"model.weights_file"})) == ["model.name"]
    same = [run(model__weights_file="/w/a.pth"), run(model__weights_file="/w/b.pth")]
    assert telling_keys(same) == ["model.weights_file"]


def test_a_key_newer_than_a_run_does_not_set_it_apart():
    assert telling_keys([run(), run(regime__views="0")]) == []


def test_names_are_short():
    assert short_value("model.name", "timm/legacy_xception") == "legacy_xception"
    assert short_value("optimizer.lr", "1/2") == "1/2"
    assert short_value("data.file", "/home/zelda/birds/table.csv") == "table.csv"
