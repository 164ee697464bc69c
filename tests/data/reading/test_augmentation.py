import pytest
import torch

from pipeline.common.errors import BadInput
from pipeline.data.reading.augmentation import RECIPES, PixelNoise, build_augmentation


def picture(side: int = 24) -> torch.Tensor:
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_give_pictures_of_the_size_and_follow_the_seed(name: str) -> None:
    recipe = build_augmentation(name, 24)
    given = picture(round(24 * recipe.canvas))
    results = []
    for seed in (1, 1, *range(2, 12)):
        torch.manual_seed(seed)
        results.append(recipe.transform(given.clone()))
        assert results[-1].shape == (3, 24, 24)
        assert results[-1].dtype == torch.uint8
    assert torch.equal(results[0], results[1])
    assert all(torch.equal(given, result) for result in results) == (name == "none")


def test_options_set_each_part() -> None:
    still = build_augmentation("flip_rotate", 24, flip=1.0, degrees=0)
    assert torch.equal(still.transform(picture()), picture().flip(-1))
    whole = build_augmentation(
        "crop_jitter", 24, scale=[1, 1], ratio=[1, 1], flip=0, degrees=0, canvas=1,
        brightness=0, contrast=0, saturation=0, hue=0,
    )  # fmt: skip
    assert torch.equal(whole.transform(picture()), picture())
    quiet = build_augmentation("shells", 24, flip=0, rotation=0, zoom=0, noise=0)
    assert torch.equal(quiet.transform(picture()), picture())


def test_building_draws_from_nobodys_chance() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    build_augmentation("trivial", 24)
    assert torch.equal(torch.rand(3), expected)


def test_noise_stays_within_its_bounds() -> None:
    grey = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    moved = torch.stack([PixelNoise(0.2)(grey) for _ in range(20)]).int() - 128
    assert 20 < moved.abs().max() <= 51
    assert abs(moved.float().mean()) < 1


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("flip_rotat", {}, "did you mean flip_rotate"),
        ("flip_rotate", {"degree": 5}, "did you mean degrees"),
        ("none", {"flip": 1}, "none has no 'flip'"),
        ("crop_jitter", {"canvas": 0.5}, "canvas must be at least 1"),
        ("flip_rotate", {"flip": 2}, "flip_rotate"),
        ("shells", {"noise": 3}, "between 0 and 1"),
        ("crop_jitter", {"scale": [5, 1]}, r"scale=\[5, 1\] is no range"),
        ("crop_jitter", {"scale": [0.5, 5]}, r"scale=\[0\.5, 5\] is no range"),
        ("crop_jitter", {"scale": [0.5]}, "augmentation.options of crop_jitter"),
        ("crop_jitter", {"ratio": [2, 1]}, r"ratio=\[2, 1\] is no range"),
        ("crop_jitter", {"fill": "white"}, "augmentation.options of crop_jitter"),
        ("trivial", {"bins": 0}, "augmentation.options of trivial"),
    ],
)
def test_recipes_that_cannot_be(name: str, options: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        build_augmentation(name, 24, **options)
