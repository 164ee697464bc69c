"""A network's features as a product: the command as typed, its file and its page."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.models import squeezenet1_0

from pipeline import notebook
from pipeline.common.errors import BadInput


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(squeezenet1_0().state_dict(), file)
    return file


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red and blue pictures, one of each kind wearing the other's label, one copied, and one that is like no other."""
    root = tmp_path_factory.mktemp("my photos")
    for number in range(24):
        kind = number % 2
        label = ("red auk", "blue crane")[kind ^ (number in (4, 5))]
        grain = np.random.default_rng(number).integers(0, 80, (6, 6, 3), dtype=np.uint8)
        grain[..., (0, 2)[kind]] += 170
        (root / label).mkdir(exist_ok=True)
        Image.fromarray(grain).resize((64, 64)).save(root / label / f"{number:02d}.png")
    shutil.copy(root / "red auk/08.png", root / "red auk/again.png")
    return root


@pytest.fixture
def asked(photos, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["data=folder", f"data.root={photos}", "model=squeezenet", f"model.weights_file={weights}",
            "data.image_size=48", "trainer.num_workers=0", "trainer.accelerator=cpu", "map=pca"]  # fmt: skip


def test_features_a_page_and_the_nearest(typed, asked, photos, tmp_path, capsys):
    nearest = f"neighbours_of={photos}/red auk/08.png"
    assert typed("embed", *asked, "near=0.999", "neighbours=3", nearest) == 0
    printed = capsys.readouterr()
    assert "right by the nearest picture" in printed.out + printed.err
    assert printed.out.index("again.png") < printed.out.rindex("1.000")
    found = notebook.features("features.parquet")
    assert found.values.dtype == np.float32
    assert found.values.shape == (25, 512)
    assert found.made_of["network"]["name"] == "torchvision/squeezenet1_0"
    assert found.made_of["network"]["preprocessing"]["image_size"] == 48
    assert found.made_of["data"]["classes"] == ["blue crane", "red auk"]
    assert set(found.rows["split"]) == {"train", "val", "test"}
    twins = found.values[found.rows["path"].isin(["red auk/08.png", "red auk/again.png"])]
    np.testing.assert_array_equal(*twins)
    assert len(pd.read_parquet("features.parquet")["features"][0]) == 512
    page = (tmp_path / "features.html").read_text(encoding="utf-8")
    doubtful = page[page.index('id="probable-wrong-labels"') : page.index('id="near-duplicates"')]
    assert "blue crane/04.png" in doubtful
    assert "red auk/05.png" in doubtful
    copies = page[page.index('id="near-duplicates"') : page.index('id="pictures-apart"')]
    assert "red auk/again.png" in copies
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_network_of_a_notebook_equals_the_library(asked, weights, photos):
    found = notebook.embed(*asked, "output=mine.parquet", "trainer.precision=fp32")
    network = squeezenet1_0()
    network.load_state_dict(torch.load(weights, weights_only=True))
    from torchvision.transforms.v2 import functional

    picture = torch.from_numpy(np.array(Image.open(photos / found.rows["path"][3]))).permute(2, 0, 1)
    pixels = functional.resize(picture, [48, 48], antialias=True).float() / 255
    pixels = functional.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    wanted = network.eval().features(pixels[None]).mean((2, 3))[0].detach().numpy()
    np.testing.assert_allclose(found.values[3], wanted, rtol=0.02, atol=0.01)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("output=features.csv", "ends in .parquet"),
        ("output=nowhere/features.parquet", "a folder that is there"),
        ("output=mine.parquet", "something else than earlier features"),
        ("regime=scratch", "add regime=frozen"),
        ("model.weights_file=none.pth", "none.pth"),
        ("neighbours_of=red auk/99.png", "no such picture"),
        ("near=2", "near=2"),
    ],
)
def test_what_cannot_work_stops_before_any_work(typed, asked, tmp_path, capsys, given, said):
    (tmp_path / "mine.parquet").write_text("my own")
    assert typed("embed", *asked, given) == 2
    assert said in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.parquet"]
    assert (tmp_path / "mine.parquet").read_text() == "my own"


def test_another_file_is_no_table_of_features(tmp_path):
    pd.DataFrame({"path": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="with python -m pipeline"):
        notebook.features(tmp_path / "other.parquet")
