from pipeline.common.errors import did_you_mean


def test_a_near_one_a_few_or_the_first_of_many():
    assert did_you_mean("resnet81", ["resnet18", "vgg19"]) == "; did you mean resnet18?"
    assert did_you_mean("x", ["b", "a"]) == "; it can be one of a, b"
    assert did_you_mean("x", []) == ""
    said = did_you_mean("nothing like it", [f"{number:04d}" for number in range(1_300)])
    assert said.endswith("0049, ... (1,300 in all)")
