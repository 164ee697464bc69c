import torch
from small_networks import network

from pipeline.data.batch import Inputs
from pipeline.explaining.drawing import activations, filters, overlay, tiles
from pipeline.explaining.looks import Look, looks


def shown(side, seed=0):
    chance = torch.Generator().manual_seed(seed)
    return Inputs(torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=chance))


def test_each_member_and_the_mean_are_shown():
    members = network("timm/test_resnet"), network("timm/test_resnet"), network("torchvision/squeezenet1_1", side=96)
    inputs = {member.spec.wants: shown(member.spec.preprocessing.image_size) for member in members}
    first, second = looks(members, inputs, torch.tensor([0, 2]))
    assert [one.name for one in first] == ["all together", "test_resnet 1", "test_resnet 2", "squeezenet1_1"]
    assert first[0].pixels.shape == (3, 96, 96)
    assert torch.equal(second[1].pixels, shown(64).pixels[1])
    assert all(one.heat.min() >= 0 and one.heat.max() in (0, 1) for one in (*first, *second))
    (alone, _) = looks(members[:1], inputs, torch.tensor([0, 2]))
    assert len(alone) == 1
    assert torch.equal(alone[0].heat, first[1].heat)


def test_there_is_no_mean_of_different_parts_of_a_picture():
    members = network("timm/test_resnet"), network("timm/test_resnet", fit="crop")
    found = looks(members, {one.spec.wants: shown(64) for one in members}, torch.tensor([0, 1]))
    assert [one.name for one in found[0]] == ["test_resnet 1", "test_resnet 2"]


def test_heat_changes_the_picture_where_it_is():
    heat = torch.zeros(4, 4)
    heat[0, 0] = 1
    drawn = overlay(Look("net", torch.full((3, 64, 64), 90, dtype=torch.uint8), heat))
    assert (drawn[:, 32:, 32:] == 90).all()
    assert drawn[0, 2, 2] > 150
    assert overlay(Look("net", torch.zeros(3, 64, 64, dtype=torch.uint8), heat), 20).shape == (3, 20, 20)


def test_filters_and_activation_maps_are_drawn():
    made = network("timm/test_vit", "torchvision/squeezenet1_1")
    drawn = [filters(sight) for sight in made.sights]
    assert [one.shape[0] for one in drawn] == [3, 3]
    row = torch.cat([shown(64).pixels[:1].flatten(1), shown(64).pixels[:1].flatten(1)], dim=1)
    names = [name for name, _ in activations(made, Inputs(row))]
    assert names == ["1: patch_embed.proj", "1: blocks.5.norm1", "2: features.0", "2: features.7"]
    assert tiles(torch.rand(5, 3, 20, 20)).shape == (3, 2 * 22, 3 * 22)
