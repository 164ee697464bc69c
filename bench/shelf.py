"""Every classification network of timm and torchvision: which build and answer at 224 pixels and at their own size.

    python bench/shelf.py --found shelf.jsonl --slice 1/8     an eighth of them; what is in the file is not tried again
    python bench/shelf.py --found shelf.jsonl --report        counts, and who refuses with which words

The order is shuffled, so that whatever part of them was tried is a fair sample. Each is built for both sizes without
memory; of those up to `--passed` 100 M parameters, one of random weights is shown a picture of 224 pixels, or of the
nearest size that the message names. A size that a message names is tried. Networks of more
than 400 M parameters are counted and left.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import timm
import torch
from torchvision import models

from pipeline.common.errors import BadInput
from pipeline.models.backbone import build_backbone, without_memory
from pipeline.models.published import as_trained
from pipeline.models.sizes import sized

USUAL, LARGEST = 224, 400e6


def networks() -> list[str]:
    """All names, in an order that says nothing of them and stays the same."""
    names = [f"timm/{name}" for name in timm.list_models()]
    names += [f"torchvision/{name}" for name in models.list_models(module=models)]
    random.Random(0).shuffle(names)
    return names


def tried(name: str, most_passed: float) -> dict[str, Any]:
    """What a network did, and in which words it refused."""
    began, own = perf_counter(), as_trained(name).image_size
    found: dict[str, Any] = {"name": name, "own": own}
    try:
        found["parameters"] = sum(one.numel() for one in without_memory(lambda: build_backbone(name)).parameters())
        if found["parameters"] > LARGEST:
            return found
        found["sizes"] = {str(size): answer(name, size) for size in dict.fromkeys((USUAL, own))}
        works = next((int(size) for size, said in found["sizes"].items() if said == "works"), None)
        named = [
            int(size) for said in found["sizes"].values() for size in re.findall(r"\b\d+\b", said.partition(":")[2])
        ]
        works = works or next((size for size in named if answer(name, size) == "works"), None)
        found["works"] = works
        if works and found["parameters"] <= most_passed:
            found["passed"] = passed(name, works)
    except Exception as error:  # that it is another than BadInput is what is looked for
        found["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
    return found | {"seconds": round(perf_counter() - began, 1)}


def answer(name: str, size: int) -> str:
    """`works`, or what a user is told."""
    try:
        sized(name, size)
    except BadInput as error:
        return str(error)
    return "works"


@torch.inference_mode()
def passed(name: str, size: int) -> bool:
    """Whether the network itself, with weights left to chance, gives as many finite features as were foreseen."""
    fits = sized(name, size)
    network = build_backbone(name, options=fits.options).eval()
    out = network(torch.zeros(1, 3, size, size))
    return out.shape == (1, fits.features) and bool(out.isfinite().all())


def report(found: list[dict[str, Any]]) -> None:
    """Counts, and each that did not answer."""
    small = [one for one in found if "sizes" in one or "failed" in one]
    counts = Counter("works" if one.get("works") else "refuses" for one in small)
    usual = sum(one.get("sizes", {}).get(str(USUAL)) == "works" for one in small)
    own = sum(one.get("sizes", {}).get(str(one["own"])) == "works" for one in small)
    passes = [one["passed"] for one in small if "passed" in one]
    n = len(small)
    print(
        f"{len(found):,} of {len(networks()):,} networks tried, {n:,} of them of up to {LARGEST / 1e6:.0f} M parameters"
    )
    print(f"answer at {USUAL}: {usual:,} ({usual / n:.1%}); at their own size: {own:,} ({own / n:.1%})")
    print(
        f"answer at one of these, or at a size that the message names: {counts['works']:,} ({counts['works'] / n:.1%})"
    )
    print(f"real passes: {sum(passes):,} of {len(passes):,} as foreseen")
    for one in small:
        if one.get("failed") or not one.get("works") or one.get("passed") is False:
            print(f"  {one['name']}: {one.get('failed') or one.get('sizes')} passed={one.get('passed')}")
    for one in small:
        if one.get("works") and one["sizes"][str(USUAL)] != "works":
            print(f"  at another size: {one['sizes'][str(USUAL)]}")


def main() -> None:
    """Try a slice, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--slice", default="1/1")
    parser.add_argument("--passed", type=float, default=100, help="million parameters; 0: no real pass")
    parser.add_argument("--report", action="store_true")
    asked = parser.parse_args()
    known = [json.loads(line) for line in asked.found.read_text().splitlines()] if asked.found.exists() else []
    if asked.report:
        report(known)
        return
    number, of = map(int, asked.slice.split("/"))
    done = {one["name"] for one in known}
    for name in networks()[number - 1 :: of]:
        if name not in done:
            with asked.found.open("a") as file:
                file.write(json.dumps(tried(name, 1e6 * asked.passed)) + "\n")
    print("done", asked.slice, file=sys.stderr)


if __name__ == "__main__":
    main()
