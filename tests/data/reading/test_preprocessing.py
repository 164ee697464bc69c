import json
from pathlib import Path

import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.data.reading.preprocessing import Joined, Preprocessing
from tests.data.conftest import Write

TALL = torch.zeros(3, 60, 20, dtype=torch.uint8)
TALL[0, :20], TALL[1, 20:40], TALL[2, 40:] = 255, 255, 255  # red, green and blue, from the top


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (61, 500), (500, 61), (30, 30)])
def test_always_a_square(fit: str, interpolation: str, shape: tuple[int, int]) -> None:
    pixels = Preprocessing(30, fit, interpolation).fit_pixels(torch.full((3, *shape), 7, dtype=torch.uint8))  # type: ignore[arg-type]
    assert pixels.shape == (3, 30, 30)
    assert pixels.dtype == torch.uint8


def test_squash_shows_all_of_it() -> None:
    assert Preprocessing(30).fit_pixels(TALL)[:, [4, 15, 25], 15].argmax(dim=0).tolist() == [0, 1, 2]


def test_crop_shows_the_middle() -> None:
    assert (Preprocessing(30, "crop").fit_pixels(TALL).argmax(dim=0) == 1).all()


def test_pad_keeps_the_shape_on_the_mean_colour() -> None:
    padded = Preprocessing(30, "pad", mean=(0.2, 0.4, 0.6)).fit_pixels(TALL)
    assert padded[:, 15, 0].tolist() == padded[:, 15, 29].tolist() == [51, 102, 153]
    assert padded[:, 15, 15].tolist() == [0, 255, 0]
    assert padded[:, [4, 25], 15].argmax(dim=0).tolist() == [0, 2]


def test_a_file_and_its_bytes_are_the_same_picture(write: Write) -> None:
    file = write("a.jpg", size=(700, 500))
    how = Preprocessing(50)
    assert torch.equal(how.read(file), how.read(file.read_bytes()))
    assert torch.equal(how.read(file), how.read(str(file)))


def test_through_json_and_back() -> None:
    how = Preprocessing(64, "pad", "bicubic", mean=(0.1, 0.2, 0.3))
    assert Preprocessing.from_dict(json.loads(json.dumps(how.to_dict()))) == how


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(BadInput, match="sharpen"):
        Preprocessing.from_dict({**Preprocessing(8).to_dict(), "sharpen": True})


def test_values_that_are_not_known() -> None:
    with pytest.raises(BadInput, match="did you mean squash"):
        Preprocessing(8, "squish")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"data\.image_size"):
        Preprocessing(0)


def test_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.jpg is not there"):
        Preprocessing(8).read(tmp_path / "gone.jpg")


def test_what_is_read_for_several_networks_is_what_each_reads(write: Write) -> None:
    parts = Preprocessing(30, "crop"), Preprocessing(20, "pad", mean=(0.5, 0.5, 0.5))
    how, file = Joined(parts), write("a.png", (60, 20))
    for source in (file, file.read_bytes(), TALL.permute(1, 2, 0).numpy()):
        row = how.read(source)
        assert row.shape == how.shape
        for part, pixels in zip(parts, how.split(row[None]), strict=True):
            assert torch.equal(pixels[0], part.read(source))
