"""What of two runs is equal, and by how much it is not."""

import torch
from safetensors.torch import save_file
from stored import finished, nearly, predictions

from pipeline.experiment.sameness import sameness
from pipeline.tracking.finished import artifact_folder


def run(store, weight, **changes):
    made = store.get_run(finished(**changes))
    save_file({"layer": torch.tensor([1.0, weight])}, artifact_folder(made, "checkpoints") / "best.safetensors")
    (artifact_folder(made, "") / "split.csv").write_text(
        "path,label,split\n" + "".join(f"{one}.jpg,auk,train\n" for one in "ab") + f"c.jpg,auk,{changes['tags']['c']}\n"
    )
    return made


def test_what_differs_is_told_with_how_much(store):
    then = run(store, 2.0, tags={"c": "val"})
    assert all(one.equal for one in sameness(store, then, store, run(store, 2.0, tags={"c": "val"})))
    other = run(store, 2.5, tags={"c": "test"}, test=nearly(predictions("test", pictures=90), 3))
    found = {one.said.partition(":")[0]: one for one in sameness(store, then, store, other)}
    assert found["split"].said == "split: 1 picture of 3 in another part, such as c.jpg"
    assert found["weights (best)"].said == "weights (best): 1 of 1 tensors differ, layer by 0.5"
    assert found["answers to val"].equal
    assert "3 of 90 are others" in found["answers to test"].said
    assert found["curves"].equal
    assert ", test/" in found["figures"].said
    assert not found["figures"].equal
