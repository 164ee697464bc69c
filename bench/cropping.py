"""What cropping to boxes brings where animals are small: python bench/cropping.py --birds ROOT --weights FILE

Birds of CUB-200-2011 (100 pixels a side) are pasted into made-up ground of 800 by 600 pixels, at a place by chance; the
published split. A frozen mobilenet_v2 with logistic regression is trained on the whole pictures, and on the square
about each box. The classes are the first `--classes` of the set.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from PIL import Image
from scipy.stats import binomtest

from pipeline.data.files import write_csv
from pipeline.data.sources import read_source
from pipeline.predictions.parquet import read_predictions

SIZE, BIRD = (800, 600), 100


def ground(chance: np.random.Generator) -> Image.Image:
    """Blurred colours of one hue, and grain."""
    coarse = chance.integers(30, 200, (1, 1, 3)) + chance.integers(-30, 30, (9, 12, 3))
    smooth = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    grain = np.asarray(smooth, np.int16) + chance.integers(-12, 12, (SIZE[1], SIZE[0], 1))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def field(birds: str, classes: int, folder: Path) -> Path:
    """A table of pictures in the folder."""
    chance, table = np.random.default_rng(0), read_source("cub200", root=birds, classes=classes)
    rows = table.rows[["path", "label", "split"]].copy()
    where = chance.random((len(rows), 2)) * (np.array(SIZE) - BIRD)
    for number, (source, corner) in enumerate(zip(table.sources(np.arange(len(rows))), where, strict=True)):
        picture = ground(chance)
        with Image.open(source) as bird:
            picture.paste(bird.convert("RGB").resize((BIRD, BIRD), Image.Resampling.LANCZOS), tuple(corner.astype(int)))
        picture.save(folder / f"{number:05}.jpg", quality=92)
    rows["path"] = [f"{number:05}.jpg" for number in range(len(rows))]
    rows[["box_x", "box_y"]] = where.astype(int)
    rows[["box_width", "box_height"]] = BIRD
    write_csv(rows, folder / "field.csv")
    return folder / "field.csv"


def main() -> None:
    """Train both, and compare them picture by picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--birds", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--classes", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file, right = field(asked.birds, asked.classes, folder), []
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        for crop in ("none", "square"):
            subprocess.run(
                [
                    sys.executable, "-m", "pipeline.train", "data=table", f"data.file={file}", f"data.crop={crop}",
                    "model=mobilenetv2", f"model.weights_file={Path(asked.weights).absolute()}", "regime=frozen",
                    "head=logistic", "trainer.feature_cache_gb=0",
                ], cwd=folder, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            found = mlflow.search_runs(search_all_experiments=True, order_by=["start_time DESC"]).iloc[0]
            local = mlflow.artifacts.download_artifacts(run_id=found.run_id, artifact_path="predictions/test.parquet")
            said = read_predictions(Path(local))
            right.append(dict(zip(said.ids.tolist(), said.correct, strict=True)))
            print(f"data.crop={crop}: {100 * np.mean(list(right[-1].values())):.1f} % of {len(said)} test pictures")
    whole, cropped = (np.array([one[key] for key in right[0]]) for one in right)
    won, lost = int((cropped & ~whole).sum()), int((whole & ~cropped).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    print(f"cropped against whole: {won} won, {lost} lost, p {p:.2g} (exact McNemar)")


if __name__ == "__main__":
    main()
