"""A head of attributes as its users meet it: trained on a table of one's own, promoted, served, put to the vote."""

import re

import mlflow
import pandas as pd
import pytest
from PIL import Image
from small_networks import SMALL

from pipeline.tracking.places import local_folder


def test_it_is_trained_promoted_served_and_votes(weights, typed, store, capsys, tmp_path):
    table = tmp_path / "digits.csv"
    table.write_text("class,round,stroke,ink\n0,yes,no,yes\n1,no,yes,yes\n2,0.5,,yes\n")
    assert typed("train", *SMALL, weights, "head=concepts", f"data.attributes={table}") == 0
    said = capsys.readouterr()
    assert "1 of 3 attributes are the same of all classes, and left out: ink" in said.out + said.err
    run = store.get_run(re.search(r"promote run=(\w+)", said.out)[1])
    assert 0.5 < run.data.metrics["test/attribute_auc"] <= 1
    folder = local_folder(run.info.artifact_uri)
    assert pd.read_csv(folder / "attribute_auc.csv")["attribute"].isin(["round", "stroke"]).all()
    assert pd.read_csv(folder / "attributes.csv")["class"].tolist() == [0, 1, 2]
    assert typed("train", *SMALL, weights, "head=logistic") == 0
    assert typed("ensemble", "strategies=[soft_vote]") == 0
    assert typed("promote", f"run={run.info.run_id}") == 0
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    (answer,) = mlflow.pyfunc.load_model("models:/digits@champion").predict(
        pd.DataFrame({"image": [(tmp_path / "white.png").read_bytes()]})
    )
    assert 0 < answer["probability"] <= 1


@pytest.mark.usefixtures("store")
def test_without_attributes_it_stops(weights, typed, capsys):
    assert typed("train", *SMALL, weights, "head=concepts") == 2
    assert "data.attributes: name a CSV" in capsys.readouterr().err
