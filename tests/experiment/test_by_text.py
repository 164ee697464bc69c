"""A head of texts as its users meet it: trained, compared, promoted and served without open_clip."""

import re
import sys

import mlflow
import pandas as pd
import pytest
from clip_files import TIMM, published
from PIL import Image


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    vision = {**TIMM, "timm_pool": "token", "timm_proj": ""}
    file = published(tmp_path_factory.mktemp("clip"), vision, custom_text=True)
    return (
        "data=digits", "data.classes=3", "regime=frozen", "trainer.accelerator=cpu", "trainer.precision=fp32",
        "trainer.batch_size=8", "trainer.limit_batches=1", "trainer.num_workers=0", "data.image_size=160",
        "model.name=timm/test_vit", f"model.weights_file={file}", "head=text",
    )  # fmt: skip


def test_it_is_promoted_and_served_without_open_clip(overrides, typed, store, capsys, monkeypatch, tmp_path):
    assert typed("train", *overrides, "head.templates=['the digit {name}']") == 0
    run = store.get_run(re.search(r"promote run=(\w+)", capsys.readouterr().out)[1])
    assert run.data.params["head.name"] == "text"
    assert typed("compare") == 0
    assert typed("promote", f"run={run.info.run_id}") == 0
    monkeypatch.setitem(sys.modules, "open_clip", None)  # as where it is not installed
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    model = mlflow.pyfunc.load_model("models:/digits@champion")
    (answer,) = model.predict(pd.DataFrame({"image": [(tmp_path / "white.png").read_bytes()]}))
    assert 0 < answer["probability"] <= 1
    assert typed("train", *overrides) == 2
    assert "head=text needs open_clip: pip install -e '.[text]'" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_it_votes_beside_a_head_that_learned_and_both_are_served(overrides, typed, capsys, monkeypatch, tmp_path):
    assert typed("train", *overrides) == 0
    assert typed("train", *overrides[:-1], "head=logistic") == 0
    assert typed("ensemble", "strategies=[soft_vote]") == 0
    assert typed("promote", f"run={re.findall('promote run=([a-z0-9]+)', capsys.readouterr().out)[-1]}") == 0
    assert "test_vit (2 networks)" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "open_clip", None)
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    (answer,) = mlflow.pyfunc.load_model("models:/digits@champion").predict(
        pd.DataFrame({"image": [(tmp_path / "white.png").read_bytes()]})
    )
    assert 0 < answer["probability"] <= 1


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["head.templates=['{genus}']"], "head.templates: '{genus}' needs a taxonomy"),
        (["head.templates=[]"], "head.templates"),
        (["optimizer.lr=0.1"], "head=text learns nothing by gradient: leave out optimizer.lr=0.1"),
        (["model.join=[resnet18,mobilenetv2]"], "head=text asks one network as it came: leave out model.join"),
        (["regime=imagenet"], "head=text is fitted to the features of a backbone that does not train"),
    ],
)
def test_what_cannot_be_asked_by_text_is_told_before_any_work(overrides, more, said, typed, capsys):
    assert typed("train", *overrides, *more) == 2
    assert said in capsys.readouterr().err
