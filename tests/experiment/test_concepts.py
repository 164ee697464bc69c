"""A head of attributes as its users meet it: trained on a table of one's own, promoted, served, put to the vote."""

import json
import re

import mlflow
import pandas as pd
import pytest
from PIL import Image
from small_networks import SMALL

from pipeline.models.saved import read_facts
from pipeline.tracking.places import local_folder

# A network that trains itself, on three digits.
TRAINED = (
    "data=digits", "data.classes=3", "model.name=timm/test_resnet", "data.image_size=32", "regime=scratch",
    "augmentation=none", "trainer.accelerator=cpu", "trainer.precision=fp32", "trainer.num_workers=0",
    "trainer.batch_size=64", "optimizer=adamw", "optimizer.lr=0.003",
)  # fmt: skip


def test_it_is_trained_promoted_served_and_votes(weights, typed, store, capsys, tmp_path):
    table = tmp_path / "digits.csv"
    table.write_text("class,round,stroke,ink\n0,yes,no,yes\n1,no,yes,yes\n2,0.5,,yes\n")
    options = ("head.residual=true", "head.agreement=2")
    assert typed("train", *SMALL, weights, "head=concepts", f"data.attributes={table}", *options) == 0
    said = capsys.readouterr()
    assert "1 of 3 attributes are the same of all classes, and left out: ink" in said.out + said.err
    run = store.get_run(re.search(r"promote run=(\w+)", said.out)[1])
    assert 0.5 < run.data.metrics["test/attribute_auc"] <= 1
    assert 0 < run.data.metrics["test/direct_share"] < 1
    assert run.data.metrics["test/agreement_low"] <= run.data.metrics["test/agreement"] <= 1
    folder = local_folder(run.info.artifact_uri)
    assert "|--- round" in (folder / "rules.txt").read_text() or "|--- stroke" in (folder / "rules.txt").read_text()
    with Image.open(folder / "rules.png") as drawn:
        assert drawn.width > 500
    learnt = pd.read_csv(folder / "rules_learnt.csv")
    assert learnt["attribute"].isin(["round", "stroke"]).all()
    assert learnt["rule"].str.fullmatch(r"at (least|most) 0\.\d+").all()
    assert pd.read_csv(folder / "telling_attributes.csv")["class"].tolist() == [0, 1]  # 2: as usual
    assert pd.read_csv(folder / "agreement.csv")["class"].isin([0, 1, 2]).all()
    assert pd.read_csv(folder / "attribute_auc.csv")["attribute"].isin(["round", "stroke"]).all()
    assert pd.read_csv(folder / "attributes.csv")["class"].tolist() == [0, 1, 2]
    assert typed("promote", f"run={run.info.run_id}") == 0
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    (tmp_path / "set.csv").write_text("path,round,stroke\nwhite.png,yes,\n")
    told = []
    for more in ((), ("attributes=set.csv",)):
        assert typed("predict", "images=white.png", "explain=true", *more) == 0
        told.append(pd.read_csv("predictions.csv").iloc[0])
    assert told[0]["probability"] != told[1]["probability"]
    assert "round (set by hand" in f"{told[1]['spoke_for']} {told[1]['spoke_against']}"
    assert json.loads(told[1]["attributes_set"]) == {"round": "yes"}
    served = mlflow.pyfunc.load_model("models:/digits@champion")
    picture = {"image": [(tmp_path / "white.png").read_bytes()]}
    for known, expected in zip(({}, {"attributes_set": ['{"round": "yes"}']}), told, strict=True):
        (answer,) = served.predict(pd.DataFrame(picture | known), params={"explain": True})
        assert answer["label"] == str(expected["label"])
        assert answer["probability"] == pytest.approx(expected["probability"], rel=1e-4)
        assert answer["reasons"]["attributes"][0]["network"] == "squeezenet1_0"
    with pytest.raises(
        mlflow.exceptions.MlflowException, match="the model has no attribute rounds; did you mean round"
    ):
        served.predict(pd.DataFrame(picture | {"attributes_set": ['{"rounds": "yes"}']}))
    assert typed("explain", f"run={run.info.run_id}", "images=white.png", "attributes=set.csv") == 0
    assert "round (set by hand" in (tmp_path / "looks" / "looks.html").read_text(encoding="utf-8")
    assert typed("train", *SMALL, weights, "head=logistic") == 0
    other = store.get_run(re.search(r"promote run=(\w+)", capsys.readouterr().out)[1])
    assert typed("explain", f"run={other.info.run_id}", "images=white.png", "attributes=set.csv") == 2
    assert "attributes=set.csv: the model reads no attributes" in capsys.readouterr().err
    assert typed("ensemble", "strategies=[soft_vote]") == 0


@pytest.mark.usefixtures("store")
def test_without_attributes_it_stops_and_with_odd_rules(weights, typed, capsys, tmp_path):
    table, rules = tmp_path / "digits.csv", tmp_path / "rules.csv"
    table.write_text("class,round,stroke\n0,yes,no\n1,no,yes\n2,0.5,\n")
    rules.write_text("class,attribute,rule\n0,rounds,always\n")
    ruled = ("train", *SMALL, weights, "head=concepts", f"data.attributes={table}", f"head.rules={rules}")
    assert typed(*ruled) == 2
    assert "there is no attribute 'rounds'; did you mean round" in capsys.readouterr().err
    assert typed(*ruled[:-1], "head.rules=none.csv") == 2
    assert "head.rules: there is no file" in capsys.readouterr().err
    rules.write_text("class,attribute,rule\n0,round,never\n")
    assert typed(*ruled) == 0
    assert "head.rules: 1 rules overruled" in capsys.readouterr().out
    rules.write_text("class,attribute,rule\n0,round,always\n")
    assert typed(*ruled) == 0
    assert "head.rules: 1 rules overruled" in capsys.readouterr().out  # another run: the file changed
    assert typed("train", *SMALL, weights, "head=concepts") == 2
    assert "data.attributes: name a CSV" in capsys.readouterr().err


def test_attributes_of_pictures(weights, typed, store, capsys, tmp_path):
    assert typed("train", *SMALL, weights, "head=logistic") == 0
    run = store.get_run(re.search(r"promote run=(\w+)", capsys.readouterr().out)[1])
    split = pd.read_csv(local_folder(run.info.artifact_uri) / "split.csv")
    known = pd.DataFrame({"path": split["path"], "round": (split["label"] == 0).astype(int), "ink": 1})
    known["stroke"] = (split["label"] == 1).astype(object).where(split.index % 3 > 0, None)
    known.to_csv(tmp_path / "pictures.csv", index=False)
    assert typed("train", *SMALL, weights, "head=concepts", f"data.attributes={tmp_path / 'pictures.csv'}") == 0
    said = capsys.readouterr()
    assert "1 of 3 attributes are the same of all classes, and left out: ink" in said.out + said.err
    folder = local_folder(store.get_run(re.search(r"promote run=(\w+)", said.out)[1]).info.artifact_uri)
    assert pd.read_csv(folder / "attributes.csv").columns.tolist() == ["path", "round", "ink", "stroke"]
    shown = pd.read_csv(folder / "attribute_auc.csv").set_index("attribute")
    assert shown.loc["stroke", ["shown", "not_shown"]].sum() < shown.loc["round", ["shown", "not_shown"]].sum()


def test_trained_with_the_network_it_is_read_corrected_and_ruled_as_when_it_is_fitted(typed, store, capsys, tmp_path):
    (tmp_path / "digits.csv").write_text("class,round,stroke,lying\n0,yes,no,no\n1,no,yes,0.1\n2,0.4,,yes\n")
    (tmp_path / "rules.csv").write_text("class,attribute,rule\n0,round,always\n")
    asked = ("head=concepts", "data.attributes=digits.csv", "head.residual=true", "head.rules=rules.csv")
    assert typed("train", *TRAINED, *asked, "trainer.epochs=4") == 0
    run = store.get_run(re.search(r"promote run=(\w+)", capsys.readouterr().out)[1])
    folder = local_folder(run.info.artifact_uri)
    assert read_facts(folder / "checkpoints").spec.head.options["fitted"] is False
    assert run.data.metrics["test/attribute_auc"] > 0.8
    assert run.data.metrics["test/accuracy"] > 0.6
    assert run.data.metrics["test/direct_share"] > 0
    assert typed("promote", f"run={run.info.run_id}") == 0
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    (tmp_path / "set.csv").write_text("path,round\nwhite.png,no\n")
    told = []
    for more in ((), ("attributes=set.csv",)):
        assert typed("predict", "images=white.png", "explain=true", *more) == 0
        told.append(pd.read_csv("predictions.csv").iloc[0])
    assert told[0]["probability"] != told[1]["probability"]
    assert told[1]["label"] != 0
    assert typed("explain", f"run={run.info.run_id}", "images=white.png", "attributes=set.csv") == 0
    assert "round (set by hand" in (tmp_path / "looks" / "looks.html").read_text(encoding="utf-8")
