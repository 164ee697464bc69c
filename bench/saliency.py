"""Do maps of where a network looks say where it looks? python bench/saliency.py --run ID, in the folder of its store

Three tests, on `--pictures` of test, as many of each class; each figure with a 95 % bootstrap interval over pictures:

* deletion and insertion (Petsiuk et al. 2018): the cells of a picture are blurred away, or put into the blurred one,
  in the order of the map; the area under the curve of the probability of the answer. Low, or high, where the order is
  that of importance; beside it a random order, and that of the distance from the middle.
* cascading randomisation (Adebayo et al. 2018): layers are made anew from the head down (batch-norm measured again);
  SSIM and rank correlation of the maps with those of the trained network, beside those of unrelated pictures.
* a photograph of half the side is pasted into made-up grounds, with grain or with branches, at a place by chance: the
  share of the evidence for its label that lies on it, beside its share of the area.
"""

import argparse
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from mlflow import MlflowClient
from PIL import Image, ImageDraw
from scipy.stats import rankdata
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.transforms.v2.functional import gaussian_blur

from pipeline.data.batch import Inputs
from pipeline.experiment.own_pictures import own_pictures
from pipeline.experiment.stored import data_config
from pipeline.explaining.methods import Method, evidence
from pipeline.models.blocks import blocks
from pipeline.models.classifier import Classifier
from pipeline.models.saved import BEST_WEIGHTS, load_network, read_facts
from pipeline.tracking.finished import artifact_folder
from pipeline.tracking.selection import find_run
from pipeline.tracking.store import Store

CELLS, STEPS, BATCH = 14, 10, 20
LAYERS = (0, 1, 3, 6, 12, 99)  # so many blocks below the head are made anew


def batches(count: int) -> Iterator[slice]:
    """Some pictures at a time."""
    for start in range(0, count, BATCH):
        yield slice(start, start + BATCH)


def probabilities(network: Classifier, pixels: torch.Tensor) -> torch.Tensor:
    """(n, k)."""
    with torch.inference_mode():
        return torch.cat([network(Inputs(pixels[some])).softmax(1) for some in batches(len(pixels))])


def maps(network: Classifier, pixels: torch.Tensor, codes: torch.Tensor, method: Method) -> torch.Tensor:
    """(n, CELLS, CELLS) of evidence."""
    found = [evidence(network, Inputs(pixels[some]), codes[some], method)[0] for some in batches(len(pixels))]
    whole = interpolate(torch.cat(found)[:, None], CELLS * 4, mode="bilinear")
    return avg_pool2d(whole, 4)[:, 0]


def told(values: np.ndarray) -> str:
    """The mean of (n,) and its bootstrap interval."""
    chance = np.random.default_rng(0)
    means = values[chance.integers(0, len(values), (5000, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def curves(
    network: Classifier, pixels: torch.Tensor, codes: torch.Tensor, order: torch.Tensor
) -> tuple[np.ndarray, ...]:
    """Deletion and insertion AUC (n,) where cells (n, CELLS**2) go from the first in `order` on."""
    blurred = gaussian_blur(pixels, [81, 81], [20.0, 20.0])
    rank = order.argsort(1).view(-1, 1, CELLS, CELLS) / CELLS**2
    rank = interpolate(rank.float(), pixels.shape[-1], mode="nearest")
    found = []
    for first, then in ((pixels, blurred), (blurred, pixels)):
        shown = [
            probabilities(network, torch.where(rank < step / STEPS, then, first)).gather(1, codes[:, None])[:, 0]
            for step in range(STEPS + 1)
        ]
        found.append(np.trapezoid(torch.stack(shown).numpy(), dx=1 / STEPS, axis=0))
    return tuple(found)


def deletion_and_insertion(network: Classifier, pixels: torch.Tensor, methods: list[Method]) -> None:
    """Of the network's own answers."""
    codes = probabilities(network, pixels).argmax(1)
    chance = torch.Generator().manual_seed(0)
    away = torch.linspace(-1, 1, CELLS).square()
    blob = (away[:, None] + away).flatten().expand(len(pixels), -1)
    found = {
        "random order": curves(network, pixels, codes, torch.rand(blob.shape, generator=chance).argsort(1)),
        "centred blob": curves(network, pixels, codes, blob.argsort(1)),
    }
    for name, (gone, back) in found.items():
        print(f"{name}: deletion {told(gone)}, insertion {told(back)}", flush=True)
    for method in methods:
        order = maps(network, pixels, codes, method).flatten(1).argsort(1, descending=True)
        gone, back = curves(network, pixels, codes, order)
        print(f"{method}: deletion {told(gone)}, insertion {told(back)}", flush=True)
        for name, (other, another) in found.items():
            print(f"  less {name}: deletion {told(gone - other)}, insertion {told(back - another)}", flush=True)


def ssim(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """(n,) of maps (n, h, w), each from its least 0 to its most 1, over windows of 7 by 7 (Wang et al. 2004)."""
    one, other = (
        (some - some.amin((1, 2), keepdim=True))
        / (some.amax((1, 2), keepdim=True) - some.amin((1, 2), keepdim=True) + 1e-12)
        for some in (one, other)
    )

    def mean(some: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(some[:, None], 7, stride=1)

    a, b = mean(one), mean(other)
    spread = mean(one**2) - a**2 + mean(other**2) - b**2
    both = mean(one * other) - a * b
    found = (2 * a * b + 1e-4) * (2 * both + 9e-4) / ((a**2 + b**2 + 1e-4) * (spread + 9e-4))
    return found.mean((1, 2, 3)).numpy()


def rank_correlation(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """(n,) of maps (n, h, w)."""
    ranks = [rankdata(some.flatten(1).numpy(), axis=1) for some in (one, other)]
    ranks = [(some - some.mean(1, keepdims=True)) / (some.std(1, keepdims=True) + 1e-12) for some in ranks]
    return (ranks[0] * ranks[1]).mean(1)


def alike(one: torch.Tensor, other: torch.Tensor) -> str:
    """Both, in words."""
    return f"SSIM {told(ssim(one, other))}, ranks {told(rank_correlation(one, other))}"


def made_anew(network: Classifier, layers: int, pixels: torch.Tensor) -> Classifier:
    """A copy whose head and that many blocks below it know nothing; batch-norm measured on the pictures."""
    anew = deepcopy(network)
    torch.manual_seed(0)
    for weight in anew.head.parameters():
        torch.nn.init.normal_(weight, std=float(weight.detach().std()))
    names = {name for block in blocks(anew.backbone)[::-1][:layers] for name in block.parameters}
    fresh = [
        layer for name, layer in anew.backbone.named_modules()
        if hasattr(layer, "reset_parameters") and any(f"{name}.{own}" in names for own, _ in layer.named_parameters())
    ]  # fmt: skip
    for layer in fresh:
        layer.reset_parameters()
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            layer.train()
    with torch.no_grad():
        anew(Inputs(pixels[:64]))
    return anew.eval()


def randomisation(network: Classifier, pixels: torch.Tensor, methods: list[Method]) -> None:
    """Of the maps of the trained network's answers."""
    codes = probabilities(network, pixels).argmax(1)
    for method in methods:
        own = maps(network, pixels, codes, method)
        others = own.roll(len(own) // 2, 0)  # pictures of other classes
        print(f"{method}, unrelated pictures: {alike(own, others)}", flush=True)
        for layers in LAYERS:
            anew = maps(made_anew(network, layers, pixels), pixels, codes, method)
            name = "all" if layers == LAYERS[-1] else f"{layers} blocks"
            print(f"  head and {name} anew: {alike(own, anew)}", flush=True)


def grain(chance: np.random.Generator, side: int) -> Image.Image:
    """Blurred colours of one hue, and grain."""
    coarse = chance.integers(30, 200, (1, 1, 3)) + chance.integers(-30, 30, (9, 9, 3))
    smooth = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    rough = np.asarray(smooth, np.int16) + chance.integers(-12, 12, (side, side, 1))
    return Image.fromarray(rough.clip(0, 255).astype(np.uint8))


def branches(chance: np.random.Generator, side: int) -> Image.Image:
    """The same with branches and leaves before it."""
    picture = grain(chance, side)
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        ends = [tuple(one) for one in chance.integers(-side // 4, 5 * side // 4, (2, 2)).tolist()]
        draw.line(
            ends, fill=tuple(chance.integers((40, 30, 10), (120, 80, 50)).tolist()), width=int(chance.integers(2, 9))
        )
    for _ in range(60):
        x, y = chance.integers(0, side, 2).tolist()
        wide, high = chance.integers(4, 16, 2).tolist()
        draw.ellipse((x, y, x + wide, y + high), fill=tuple(chance.integers((20, 80, 10), (90, 180, 60)).tolist()))
    return picture


def pasted(network: Classifier, pixels: torch.Tensor, labels: torch.Tensor, methods: list[Method]) -> None:
    """The share of the evidence for the label that lies on the photograph."""
    side = pixels.shape[-1]
    half = side // 2
    grounds: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {"grain": grain, "branches": branches}
    for name, ground in grounds.items():
        chance = np.random.default_rng(0)
        corners = chance.integers(0, side - half + 1, (len(pixels), 2))
        whole = torch.stack([torch.from_numpy(np.array(ground(chance, side))).permute(2, 0, 1) for _ in corners])
        small = interpolate(pixels.float(), half, mode="bilinear", antialias=True).round().to(torch.uint8)
        here = torch.zeros(len(pixels), side, side)
        for place, (top, left) in enumerate(corners.tolist()):
            whole[place, :, top : top + half, left : left + half] = small[place]
            here[place, top : top + half, left : left + half] = 1
        right = (probabilities(network, whole).argmax(1) == labels).float().numpy()
        print(f"pasted on {name}: {told(right)} right")
        for method in methods:
            found = maps(network, whole, labels, method).clamp(min=0)
            found = interpolate(found[:, None], side, mode="bilinear")[:, 0]
            share = (found * here).sum((1, 2)) / found.sum((1, 2)).clamp(min=1e-12)
            print(
                f"  {method}: {told(share.numpy())} of the evidence on {(half / side) ** 2:.2f} of the area", flush=True
            )


def main() -> None:
    """All three tests, or some."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--methods", nargs="+", default=["gradcam", "occlusion", "integrated_gradients"])
    parser.add_argument("--tests", nargs="+", default=["pasted", "randomisation", "deletion"])
    asked = parser.parse_args()
    Store().open(to_write=False)
    run = find_run(MlflowClient(), asked.run)
    folder = artifact_folder(run, "checkpoints")
    network = load_network(read_facts(folder).spec, folder / BEST_WEIGHTS).eval()
    table = own_pictures(run, artifact_folder(run, ""), data_config(run)).unedited
    test = np.random.default_rng(0).permutation(table.where("test"))
    turn = np.array([int((table.labels[test[:place]] == table.labels[row]).sum()) for place, row in enumerate(test)])
    rows = np.sort(test[np.lexsort((table.labels[test], turn))][: asked.pictures])
    rows = rows[np.argsort(table.labels[rows], kind="stable")]
    pixels = torch.stack([network.spec.preprocessing.read(source) for source in table.sources(rows)])
    labels = torch.from_numpy(table.labels[rows])
    print(f"{len(rows)} test pictures of {len(set(labels.tolist()))} classes", flush=True)
    if "pasted" in asked.tests:
        pasted(network, pixels, labels, asked.methods)
    if "randomisation" in asked.tests:
        randomisation(network, pixels, asked.methods)
    if "deletion" in asked.tests:
        deletion_and_insertion(network, pixels, asked.methods)


if __name__ == "__main__":
    main()
