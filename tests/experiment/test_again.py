"""A finished run trained once more: what is refused before any work, and that the same comes out."""

import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image
from stored import finished

from pipeline.common.errors import BadInput
from pipeline.tracking.code import write_code_of

QUICK = (
    "model=squeezenet", "regime=scratch", "trainer.epochs=1", "trainer.batch_size=8", "trainer.limit_batches=1",
    "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.threads=1", "tracking.heat_maps=false",
)  # fmt: skip


@pytest.fixture
def trained(store, typed, tmp_path):
    """A run on a few pictures, named as one sees them from the current folder; its id."""
    for label, colour in (("auk", "red"), ("crane", "blue")):
        (tmp_path / "birds" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (32, 32), colour).save(tmp_path / "birds" / label / f"{number}.png")
    assert typed("train", "data=folder", "data.root=birds", "data.image_size=32", *QUICK) == 0
    return store.search_runs([store.get_experiment_by_name("birds").experiment_id])[0].info.run_id


def files_of(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_same_comes_out_and_nothing_of_the_first_is_touched(trained, store, typed, tmp_path, capfd):
    store.set_tag(trained, "machine.instructions", "VSX")
    before = files_of(tmp_path)
    assert typed("reproduce", f"run={trained}", "code=here", "output=again") == 0
    said = capfd.readouterr()
    assert "machine.instructions: VSX then, " in said.err + said.out
    assert "answers to test" in said.err + said.out
    assert "differs: weights" not in said.err + said.out
    after = {file: text for file, text in files_of(tmp_path).items() if not file.is_relative_to(tmp_path / "again")}
    assert after == before

    # what differs of the pictures, of the keys and of where to is told before any work
    def refused(said, *arguments):
        assert typed("reproduce", f"run={trained}", *arguments) == 2
        assert said in capfd.readouterr().err

    refused("output=again is there already", "code=here", "output=again")
    store.set_tag(trained, "git_sha", "0" * 40)
    refused("is not in this clone's history", "output=none")
    shutil.rmtree("none")
    store.set_tag(trained, "git_sha", "unknown")
    refused("does not say at which commit")
    Image.new("RGB", (32, 32), "green").save("birds/auk/new.png")
    refused("1 is new", "code=here")
    Path("birds/auk/new.png").rename("birds/auk/0.png")
    refused("auk/0.png has changed", "code=here")
    Path("birds/auk/0.png").unlink()
    refused("auk/0.png is gone", "code=here")
    refused("data.root", "code=here", "data.root=nowhere")


def test_a_key_that_is_no_more_is_named(store, typed, capsys):
    run = finished()
    file = Path(store.get_run(run).info.artifact_uri.removeprefix("file://")) / "config.yaml"
    file.write_text(yaml.safe_dump({"data": {"source": "digits", "name": "digits"}, "seed": 0, "warp": 9}))
    assert typed("reproduce", f"run={run}", "code=here") == 2
    assert "warp" in (said := capsys.readouterr().err)
    assert "code=own" in said


@pytest.mark.parametrize(
    ("tags", "status", "said"),
    [
        ({"stage": "train"}, "KILLED", "it did not finish (KILLED)"),
        ({"stage": "ensemble"}, "FINISHED", "an ensemble"),
        ({"stage": "sweep"}, "FINISHED", "a sweep, not one of its jobs"),
    ],
)
def test_what_is_no_finished_training_is_refused(store, typed, capsys, tags, status, said):
    run = store.create_run(store.create_experiment("birds"), tags=tags).info.run_id
    store.set_terminated(run, status)
    assert typed("reproduce", f"run={run}") == 2
    assert said in capsys.readouterr().err
    assert typed("reproduce") == 2


def test_the_code_of_a_commit_is_written(tmp_path):
    if not (Path(__file__).parents[2] / ".git").exists():
        pytest.skip("no clone")
    write_code_of("HEAD", tmp_path)
    assert (tmp_path / "conf" / "train.yaml").is_file()
    with pytest.raises(BadInput, match="code=here"):
        write_code_of("nonsense", tmp_path)
