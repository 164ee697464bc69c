"""Commands killed at random moments and typed again, until they are through: is everything as if nothing had happened?

    python bench/faults/storm.py --kills 200             in processes forked off one that has imported everything
    python bench/faults/storm.py --kills 60 --whole      as whole commands, imports included

Each trial plays a scenario (below) twice in fresh folders: once undisturbed, once in a storm, where SIGKILL meets a
command and all that it started after a random part of the time that it took before; then it is typed again. Compared
are all figures that do not tell of time, bit for bit; each epoch is to be logged once, no run left RUNNING, weights
are the same bytes, and no file is left that the undisturbed trial has not. Prints a line a trial, then the counts:
kills, tried, survived, lost.
"""

import argparse
import atexit
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from PIL import Image

TINY = (
    "model=squeezenet", "regime=scratch", "augmentation=none", "data.image_size=32", "trainer.batch_size=8",
    "trainer.precision=fp32", "trainer.accelerator=cpu", "trainer.threads=1", "trainer.checkpoint_minutes=0",
)  # fmt: skip
PHOTOS = ("data=folder", "data.root=photos", *TINY, "trainer.epochs=3")
DIGITS = (*TINY, "data.per_class=8", "trainer.epochs=3")
SCENARIOS: dict[str, list[tuple[str, ...]]] = {
    "a training": [("train", *PHOTOS, "trainer.num_workers=0")],
    "a training with reading processes": [("train", *PHOTOS, "trainer.num_workers=2", "trainer.keep_epochs=[1,3]")],
    "a sweep": [("train", "-m", *DIGITS, "seed=0,1")],
    "a sweep compared, voted, promoted": [
        ("train", "-m", *PHOTOS, "trainer.num_workers=0", "seed=0,1", "trainer.epochs=1"),
        ("compare", "sweep=latest"), ("ensemble", "sweep=latest", "strategies=[soft_vote]"), ("promote",),
    ],
}  # fmt: skip
OF_TIME = ("images_per_second", "seconds", "minutes")  # in the names of figures that differ from run to run
MOST_KILLS = 4  # of one command, which then is left alone


@dataclass
class Outcome:
    """What a trial left behind, by names that are the same in each."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Player:
    """Plays commands in a folder of their own: forked off this process, or as whole ones."""

    def __init__(self, folder: Path, *, whole: bool) -> None:
        self.folder, self.whole = folder, whole
        folder.mkdir(parents=True)
        self.tmp = Path(tempfile.mkdtemp(prefix="storm-"))  # a short name: processes pass pictures through files there
        for number in range(24):
            file = folder / "photos" / ("ant", "bee")[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)

    def start(self, command: Sequence[str]) -> int:
        """The process id of a command, which leads a group of its own."""
        variables = {
            "TMPDIR": str(self.tmp), "PIPELINE_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}",
        }  # fmt: skip
        name, *arguments = command
        if self.whole:
            with (self.folder / "said.log").open("ab") as said:
                typed = [sys.executable, "-m", f"pipeline.{name}", *arguments]
                return subprocess.Popen(
                    typed, cwd=self.folder, env=os.environ | variables, stdout=said, stderr=said, start_new_session=True
                ).pid
        child = os.fork()
        if child:
            return child
        os.setsid()
        os.chdir(self.folder)
        said = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ.update(variables)
        tempfile.tempdir = None
        sys.argv = [name, *arguments]
        try:
            import_module(f"pipeline.{name}").main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            code = 99
        atexit._run_exitfuncs()
        os._exit(code)

    def is_through(self) -> bool:
        """Whether the last command told of its end."""
        said = self.folder / "said.log"
        return said.is_file() and said.read_text().rpartition("\n")[0].rpartition("\n")[2].startswith("next:")

    def wait(self, process: int, most: float | None = None) -> int | None:
        """Its exit code; None where it was killed, after so many seconds, with all that it started."""
        end = None if most is None else monotonic() + most
        while True:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if end is not None and monotonic() >= end:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return None
            sleep(0.002)


def undisturbed(player: Player, commands: Sequence[Sequence[str]]) -> list[float]:
    """Play them; the seconds that each took."""
    seconds = []
    for command in commands:
        began = monotonic()
        code = player.wait(player.start(command))
        assert code == 0, f"{command}: exit code {code}; {player.folder / 'said.log'} has what was said"
        seconds.append(monotonic() - began)
    return seconds


def stormy(player: Player, commands: Sequence[Sequence[str]], seconds: list[float], chance: random.Random) -> int:
    """Play them, killing and typing again; how often was killed. AssertionError where one does not come through.

    `seconds` that each takes, which change as the machine has more or less else to do, are noted anew.
    """
    kills = 0
    for number, command in enumerate(commands):
        for attempt in range(MOST_KILLS + 1):
            most = chance.uniform(0, 1.2 * seconds[number]) if attempt < MOST_KILLS else None
            began = monotonic()
            code = player.wait(player.start(command), most)
            if code == 0 and not attempt:
                seconds[number] = monotonic() - began
            if code is not None:
                assert code == 0, f"{' '.join(command)}: exit code {code} after {attempt} kills"
                break
            kills += 1
            if command[0] == "train" and "-m" not in command and player.is_through():
                break  # killed on its way out: typed again, a finished training is trained anew, as was asked for
    return kills


def outcome(player: Player) -> Outcome:
    """Read off the store and the folder what is there."""
    from mlflow import MlflowClient

    folder = player.folder
    client, found, seen = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), Outcome(), set[str]()
    for run in client.search_runs([one.experiment_id for one in client.search_experiments()]):
        tags, status = run.data.tags, run.info.status
        name = f"{tags.get('stage')} {tags.get('overrides', '')}"
        if tags.get("stage") == "compare" or (tags.get("stage"), status) == ("ensemble", "KILLED"):
            continue  # typed again they are made anew, and the other stays to be seen
        if status != "FINISHED":
            found.wrong.append(f"{name} is {status}")
        figures = {key: value for key, value in run.data.metrics.items() if not any(part in key for part in OF_TIME)}
        if found.figures.setdefault(name, figures) != figures or (name in seen and tags.get("stage") != "ensemble"):
            found.wrong.append(f"{name} is there twice")  # an ensemble typed again is made again, and is the same
        seen.add(name)
        found.wrong += _logged_otherwise(client, run, name)
        place = Path(run.info.artifact_uri.removeprefix("file://"))
        for file in sorted(place.rglob("*")):
            if file.is_file():
                found.files.add(f"{name}/{file.relative_to(place)}")
                if file.suffix == ".safetensors":
                    found.weights[f"{name}/{file.name}"] = sha256(file.read_bytes()).hexdigest()
    found.files |= {f"tmp/{file.name}" for file in player.tmp.iterdir() if not _of_python(file)}
    shutil.rmtree(player.tmp)
    found.files |= {str(file.relative_to(folder)) for file in folder.rglob("*.making-*")}
    found.files |= {file.name for file in folder.iterdir() if file.name != "said.log"}
    for model in client.search_registered_models():
        aliases = {alias: client.get_model_version_by_alias(model.name, alias).status for alias in model.aliases}
        found.figures[f"model {model.name}"] = {alias: float(status == "READY") for alias, status in aliases.items()}
    return found


def _of_python(file: Path) -> bool:
    """Whether the libraries keep it, or Python itself, killed as it tried whether it can write there, left it."""
    return "torchinductor" in file.name or (len(file.name) == 8 and file.is_file() and file.stat().st_size <= 4)


def _logged_otherwise(client: Any, run: Any, name: str) -> Iterator[str]:
    """What is wrong with a training's epochs: each is to be there once."""
    if run.data.tags.get("stage") != "train":
        return
    if "trainer.epochs" not in run.data.params:
        yield f"{name} has no parameters"
        return
    epochs = int(run.data.params["trainer.epochs"])
    for key in ("train/loss", "val/loss", "val/accuracy"):
        steps = [point.step for point in client.get_metric_history(run.info.run_id, key)]
        if sorted(steps) != list(range(1, epochs + 1)):
            yield f"{name}: {key} has the steps {steps}"


def differences(calm: Outcome, storm: Outcome) -> list[str]:
    """Where a storm left something else than calm did."""
    found = list(storm.wrong)
    if calm.figures.keys() != storm.figures.keys():
        found.append(f"runs: {sorted(calm.figures.keys() ^ storm.figures.keys())}")
    for name in calm.figures.keys() & storm.figures.keys():
        one, other = calm.figures[name], storm.figures[name]
        found += [
            f"{name}: {key} {one.get(key)} is {other.get(key)}" for key in one | other if one.get(key) != other.get(key)
        ]
    found += [f"other bytes: {name}" for name in calm.weights if calm.weights[name] != storm.weights.get(name)]
    found += [f"left: {name}" for name in sorted(storm.files - calm.files)]
    return found + [f"missing: {name}" for name in sorted(calm.files - storm.files)]


def play(folder: Path, kills: int, *, seed: int = 0, whole: bool = False, names: Sequence[str] = ()) -> Counter[str]:
    """Trials until there were so many kills; the counts of `kills`, `tried`, `survived` and `lost`."""
    counts, chance = Counter({"kills": 0, "tried": 0, "survived": 0, "lost": 0}), random.Random(seed)
    calm: dict[str, tuple[Outcome, list[float]]] = {}
    scenarios = {name: SCENARIOS[name] for name in names or SCENARIOS}
    while counts["kills"] < kills:
        for name, commands in scenarios.items():
            if name not in calm:
                player = Player(folder / f"calm {len(calm)}", whole=whole)
                seconds = undisturbed(player, commands)
                calm[name] = outcome(player), seconds
                assert not calm[name][0].wrong, calm[name][0].wrong
            player = Player(folder / f"storm {counts['tried']}", whole=whole)
            counts["tried"] += 1
            try:
                killed = stormy(player, commands, calm[name][1], chance)
                lost = differences(calm[name][0], outcome(player))
            except AssertionError as error:
                killed, lost = 0, [str(error)]
            counts["kills"] += killed
            counts["lost" if lost else "survived"] += 1
            print(f"{name}: {killed} kills: {'; '.join(lost) or 'as if nothing had happened'}", flush=True)
            if lost:
                print(f"  in {player.folder}", flush=True)
            if counts["kills"] >= kills:
                break
    return counts


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="start whole commands")
    parser.add_argument("--folder", type=Path, default=None, help="where the trials lie; kept where one is lost")
    given = parser.parse_args()
    if not given.whole:
        for name in ("train", "compare", "ensemble", "promote"):
            import_module(f"pipeline.commands.{name}")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="storm-"))
    counts = play(folder, given.kills, seed=given.seed, whole=given.whole)
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    sys.exit(1 if counts["lost"] else 0)


if __name__ == "__main__":
    main()
