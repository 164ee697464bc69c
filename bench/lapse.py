"""When promises lapse: false alarms on pictures from the same source, and alarms after a made change of the camera.

    python bench/lapse.py RUN_ID [FOLDERS] [PICTURES]

In the folder of the run's mlflow.db. Test pictures are asked as they are, and (a draw of 1,000 of them) blurred, as by
night, and as JPEG of quality 20; folders of 200 are drawn from each without replacement, and compared with val. False
alarms are also counted where what is compared with is drawn anew each time, out of val and test together.
"""

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from PIL import Image, ImageFilter

from pipeline.evaluation.familiar import Usual, together
from pipeline.evaluation.lapse import LEVEL, lapse
from pipeline.evaluation.statistics import interval_of_share
from pipeline.evaluation.temperature import fit_temperature
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.serving.asking import seen_in
from pipeline.serving.from_run import best_of, known_of
from pipeline.tracking.finished import artifact_folder, stored_predictions
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store

Change = Callable[[Image.Image], Image.Image]


def night(picture: Image.Image) -> Image.Image:
    """A fifth of the light, without colour, with the noise of a high sensitivity."""
    grey = np.asarray(picture.convert("L"), np.float32) / 5
    noisy = grey + np.random.default_rng(0).normal(0, 6, grey.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert("RGB")


CHANGES: dict[str, tuple[Change, int]] = {
    "none": (lambda picture: picture, 0),
    "blur": (lambda picture: picture.filter(ImageFilter.GaussianBlur(2)), 95),
    "night": (night, 95),
    "JPEG at 20": (lambda picture: picture, 20),
}


def changed(file: Path, change: Change, quality: int) -> bytes:
    """A picture's bytes after a change, saved at a quality; 0 leaves them as they are."""
    if not quality:
        return file.read_bytes()
    made = io.BytesIO()
    change(Image.open(file).convert("RGB")).save(made, "JPEG", quality=quality)
    return made.getvalue()


def main(run_id: str, folders: int, pictures: int) -> None:
    """A line a change: in how many folders it was said."""
    Store().open(to_write=False)
    client = MlflowClient()
    run = find_run(client, run_id)
    bundle, table = best_of(client, run), own_pictures(run, artifact_folder(run, ""), data_config(run)).table
    val = stored_predictions(run, "val")
    temperature = fit_temperature(val)
    known = known_of(run, val.at_temperature(temperature))
    assert known is not None
    bundle = replace(bundle, known=known)  # by which looks are noted
    chance = np.random.default_rng(0)
    files = [Path(one) for one in table.sources(table.where("test"))]
    for name, (change, quality) in CHANGES.items():
        chosen = files if not quality else [files[place] for place in chance.permutation(len(files))[:1000]]
        seen = seen_in(bundle, [changed(file, change, quality) for file in chosen])
        assert seen.looks is not None
        here = Usual(seen.confidence(temperature), seen.looks)
        tell(f"{name}, {len(chosen):,} pictures", [known.usual] * folders, here, pictures, chance)
        if not quality:
            whole = joined(known.usual, here)
            drawn = [chance.permutation(len(whole.confidence)) for _ in range(folders)]
            several = [some_of(whole, order[: len(val)]) for order in drawn]
            others = [some_of(whole, order[len(val) :][:pictures]) for order in drawn]
            said = [differs(*pair) for pair in zip(several, others, strict=True)]
            print(f"none, val drawn anew: {told(said)}", flush=True)


def tell(name: str, usual: list[Usual], here: Usual, pictures: int, chance: np.random.Generator) -> None:
    """A line: in how many folders drawn from some pictures it was said."""
    drawn = [some_of(here, chance.permutation(len(here.confidence))[:pictures]) for _ in usual]
    print(f"{name}: {told([differs(*pair) for pair in zip(usual, drawn, strict=True)])}", flush=True)


def told(said: list[bool]) -> str:
    """A share with its interval."""
    share = interval_of_share(np.array(said))
    return f"said of {share.value:.1%} of {len(said)} folders (95 % {share.low:.1%} to {share.high:.1%})"


def differs(usual: Usual, some: Usual) -> bool:
    """Whether it is said."""
    found = lapse(usual, some.confidence, some.looks)
    return found is not None and found.p < LEVEL


def some_of(whole: Usual, rows: np.ndarray) -> Usual:
    """Some of the pictures."""
    return Usual(whole.confidence[rows], None if whole.looks is None else whole.looks.take(rows))


def joined(one: Usual, other: Usual) -> Usual:
    """The pictures of both."""
    assert one.looks is not None
    assert other.looks is not None
    return Usual(np.concatenate([one.confidence, other.confidence]), together([one.looks, other.looks]))


if __name__ == "__main__":
    main(sys.argv[1], *(int(one) for one in (sys.argv[2:] or ["300", "200"])))
