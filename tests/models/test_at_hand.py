import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.models.at_hand import networks_here
from pipeline.models.shelf import shelf


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty folders in the place of those that PyTorch's and Hugging Face's files are fetched to."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    networks_here.cache_clear()
    yield tmp_path
    networks_here.cache_clear()


def test_the_networks_whose_weights_are_here_and_what_the_others_lack(caches, capsys):
    file = caches / "hub" / "models--timm--tf_efficientnet_lite0.in1k" / "snapshots" / "abc" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    (file.parents[2] / "refs").mkdir()
    (file.parents[2] / "refs" / "main").write_text("abc")
    assert networks_here() == ("efficientnet_lite0",)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(shelf()) - 1
    assert any(
        line.startswith("left out: model=resnet18: resnet18-f37072fd.pth is not here; it is at https://")
        and line.endswith(f", and goes to {caches / 'torch' / 'checkpoints'}")
        for line in said
    )


def test_a_shelf_without_any_weights_says_so(caches):
    with pytest.raises(BadInput, match=r"of no network of the shelf are the weights here: python -m pipeline\.models"):
        networks_here()
