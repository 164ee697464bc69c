"""iNaturalist 2021 on 1, 8 and 64 GPUs: what holds a training up, how long an epoch takes, and what setting moves it.

    python bench/scale_model.py [--network resnet50] [--gpu h100] [--batch 128] [--opens nfs 2000 10000] [...]

A model, not a measurement: an epoch lasts as long as the slowest of GPU (with what of the all-reduce the backward pass
does not hide), decoding and storage, and val comes after. Each input is a range, drawn 2,000 times (uniform in its
logarithm, all independent); printed are the median and the middle 90 % of draws, and in how many an epoch would gain
most if that stage took no time. Where the ranges come from stands beside them: measured by this project
(docs/measurements.md), published, or assumed; type your own. It prints the tables of docs/scale.md.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Range = tuple[float, float]

PICTURES, VAL = 2_686_843, 100_000
MB_A_PICTURE = (
    224_000 / PICTURES
)  # published: 224 GB of training JPEGs, https://github.com/visipedia/inat_comp/tree/master/2021
CLASSES, PER_CACHED = 10_000, 3 * 224 * 224 / 1e6
DRAWS = 2_000

# Training pictures a second of one GPU at 224 pixels, half precision. H100: this project's loop (docs/measurements.md).
# RTX 3090: timm's results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv; A100 (80 GB): NVIDIA DeepLearningExamples,
# ConvNets/resnet50v1.5/README.md. Published ones are of loops that read nothing: 0.85 of them to all.
STEPS: Mapping[tuple[str, str], Range] = {
    ("resnet50", "h100"): (3_174, 3_870),
    ("resnet50", "a100"): (0.85 * 2_470, 2_470),
    ("resnet50", "rtx3090"): (0.85 * 1_218, 1_218),
    ("mobilenetv2", "h100"): (4_543, 5_646),
    ("convnext_tiny", "rtx3090"): (0.85 * 819, 819),
    ("vit_base", "rtx3090"): (0.85 * 393, 393),
}
# Million weights of the backbone, and features that the head of 10,000 classes takes.
WEIGHTS = {
    "resnet50": (23.5, 2_048),
    "mobilenetv2": (2.2, 1_280),
    "convnext_tiny": (27.8, 768),
    "vit_base": (85.8, 768),
}
FORWARD = (2.5, 3.5)  # times as many pictures a second without the backward pass: assumed

# Pictures a second that one helper process reads and decodes (500 x 375 to 224): this project, 15 and 8 on 16 cores.
DECODED: Range = (241, 336)
CACHED: Range = (560, 720)  # kept as pixels (data.cache), the same measurement; the lower end assumed
MOST_HELPERS = 8  # trainer.num_workers=null: as many as cores for each GPU, but no more

# GB a second, and files opened a second: assumed, for a local disk each machine's, else of the whole file system.
STORES: dict[str, tuple[Range, Range]] = {
    "disk": ((2, 6), (20_000, 100_000)),  # NVMe
    "nfs": ((0.8, 1.2), (2_000, 10_000)),  # one server behind 10 Gb/s
    "parallel": ((10, 40), (10_000, 50_000)),  # Lustre, GPFS
}
# GB a second of all-reduces of many megabytes ("bus bandwidth" in nccl-tests' doc/PERFORMANCE.md), and seconds that one
# waits. Between machines 0.6 to 0.9 of what their network cards have; 92 GB/s were measured for 4 machines of 8 GPUs
# (stas00/ml-engineering, network/benchmarks), and waits of 0.63 ms for 64 GPUs over 100 Gb/s of a cloud's (gist
# jacobkahn/3150a1a38abba40f58d8263d9c55969f). All else is assumed.
LINKS: dict[str, tuple[Range, Range]] = {
    "none": ((1, 1), (1e-9, 1e-9)),
    "nvlink": ((100, 230), (2e-5, 1e-4)),
    "pcie": ((8, 20), (2e-5, 1e-4)),
    "10GbE": ((0.75, 1.1), (1e-4, 1e-3)),
    "100GbE": ((7.5, 11), (5e-5, 6e-4)),
    "8x200Gb": ((80, 180), (5e-5, 6e-4)),
}
BUCKETS = 25  # MB a DDP bucket: each is an all-reduce of its own
TABLE: Mapping[str, Range] = {"files": (39, 58), "tars": (13, 58)}  # seconds: bench/table_at_scale.py, Parquet to JSON
EVALUATED: Range = (13, 15)  # seconds for 100,000 answers, bench/evaluation_at_scale.py; twice, val's and test's

TYPED = ("gb", 0, STORES), ("opens", 1, STORES), ("bandwidth", 0, LINKS), ("wait", 1, LINKS)

MOVES = {
    "GPU": "a smaller network, data.image_size; more GPUs",
    "link": "trainer.batch_size greater; regime.trains=last:2",
    "decoding": "trainer.num_workers greater; data.cache=disk",
    "storage": "data=shards; copies on each machine's disk",
    "tars": "copies on each machine's disk; data.cache=disk",
}


@dataclass(frozen=True)
class Setup:
    """What is to be looked at; `cached`: pictures come as pixels from each machine's own disk, from epoch 2 on."""

    gpus: int
    machines: int
    cores: int
    store: str
    link: str
    tars: bool = False
    cached: bool = False
    helpers: int = MOST_HELPERS
    name: str = field(default="")


SETUPS = [
    Setup(1, 1, 16, "disk", "none", name="1, files on its disk"),
    Setup(1, 1, 16, "disk", "none", helpers=15, name="1, num_workers=15"),
    Setup(1, 1, 16, "disk", "none", cached=True, name="1, data.cache=disk"),
    Setup(1, 1, 16, "nfs", "none", name="1, files over NFS"),
    Setup(8, 1, 128, "disk", "nvlink", name="8, files on its disk"),
    Setup(8, 1, 128, "nfs", "nvlink", name="8, files over NFS"),
    Setup(8, 1, 128, "nfs", "nvlink", tars=True, name="8, tars over NFS"),
    Setup(8, 1, 128, "disk", "pcie", name="8 without NVLink"),
    Setup(8, 1, 128, "disk", "nvlink", helpers=16, name="8, num_workers=16"),
    Setup(8, 1, 128, "disk", "nvlink", cached=True, name="8, data.cache=disk"),
    Setup(64, 8, 128, "nfs", "8x200Gb", name="64, files over NFS"),
    Setup(64, 8, 128, "nfs", "8x200Gb", tars=True, name="64, tars over NFS"),
    Setup(64, 8, 128, "parallel", "8x200Gb", name="64, files, parallel"),
    Setup(64, 8, 128, "parallel", "8x200Gb", tars=True, name="64, tars, parallel"),
    Setup(64, 8, 128, "parallel", "100GbE", tars=True, name="64, one 100 Gb/s card"),
    Setup(64, 8, 128, "parallel", "10GbE", tars=True, name="64, one 10 Gb/s card"),
    Setup(64, 8, 128, "disk", "8x200Gb", cached=True, name="64, data.cache=disk"),
]


def simulate(setup: Setup, network: str, gpu: str, batch: int) -> dict[str, np.ndarray]:
    """Seconds (DRAWS,) that the training pictures of an epoch would keep each stage busy; of val, and of the start."""
    chance = np.random.default_rng(0)

    def drawn(within: Range) -> np.ndarray:
        return np.exp(chance.uniform(*np.log(within), DRAWS))

    step = drawn(STEPS[network, gpu])
    weights, features = WEIGHTS[network]
    megabytes = 4 * (weights + features * CLASSES / 1e6)  # gradients are float32
    bandwidth, wait = map(drawn, LINKS[setup.link])
    ring = 2 * (setup.gpus - 1) / setup.gpus * megabytes / 1e3 / bandwidth + np.ceil(megabytes / BUCKETS) * wait
    hidden = chance.uniform(0.3, 1, DRAWS) * 2 / 3 * batch / step  # the backward pass takes two thirds of a step
    seen = np.maximum(0, ring - hidden) if setup.gpus > 1 else np.zeros(DRAWS)
    steps = PICTURES / (batch * setup.gpus)
    (gb, opens), helpers = (
        map(drawn, STORES[setup.store]),
        min(setup.helpers, setup.cores * setup.machines // setup.gpus),
    )
    machines = setup.machines if setup.store == "disk" or setup.cached else 1
    size = PER_CACHED if setup.cached else MB_A_PICTURE
    storage = PICTURES * size / 1e3 / (gb * machines)
    if not setup.tars and not setup.cached:
        storage = np.maximum(storage, PICTURES / (opens * machines))
    decoding = PICTURES / (helpers * setup.gpus * drawn(CACHED if setup.cached else DECODED))
    pace = np.maximum(PICTURES / (setup.gpus * step * drawn(FORWARD)), np.maximum(decoding, storage)) * VAL / PICTURES
    start = drawn(TABLE["tars" if setup.tars else "files"]) + (0 if setup.tars else PICTURES / (opens * machines))
    return {
        "GPU": PICTURES / (setup.gpus * step), "link": steps * seen, "decoding": decoding, "storage": storage,
        "val": pace, "start": start, "end": 2 * drawn(EVALUATED),
    }  # fmt: skip


def line(setup: Setup, found: Mapping[str, np.ndarray]) -> str:
    """A row of the table."""
    learning = found["GPU"] + found["link"]
    all_of_it = np.maximum.reduce([learning, found["decoding"], found["storage"]])
    without = {
        "GPU": np.maximum.reduce([found["link"], found["decoding"], found["storage"]]),
        "link": np.maximum.reduce([found["GPU"], found["decoding"], found["storage"]]),
        "decoding": np.maximum(learning, found["storage"]),
        "storage": np.maximum(learning, found["decoding"]),
    }
    slowest = np.array([all_of_it - one for one in without.values()]).argmax(axis=0)
    shares = {name: float(np.mean(slowest == number)) for number, name in enumerate(without)}
    hours = (all_of_it + found["val"]) / 3600
    told = [f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.05]
    most = max(shares, key=lambda name: shares[name])
    most = "tars" if most == "storage" and (setup.tars or setup.cached) else most
    low, middle, high = np.quantile(hours, [0.05, 0.5, 0.95])
    busy = np.median(found["GPU"] / 3600 / hours)
    starts, ends = np.quantile(found["start"] / 60, [0.05, 0.95])
    return (
        f"| {setup.name} | {60 * middle:.2g} ({60 * low:.2g} to {60 * high:.2g}) | {', '.join(told)} | {busy:.0%} | "
        f"{starts:.2g} to {ends:.2g} | {MOVES[most]} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", default="resnet50", choices=WEIGHTS)
    parser.add_argument("--gpu", default="h100", choices=sorted({gpu for _, gpu in STEPS}))
    parser.add_argument("--batch", type=int, default=128, help="pictures of one GPU; trainer.batch_size is that of all")
    for what, _, of in TYPED:
        parser.add_argument(
            f"--{what}", nargs=3, action="append", default=[], metavar=(f"{'|'.join(of)}", "LOW", "HIGH")
        )
    asked = parser.parse_args()
    for what, place, of in TYPED:
        for name, low, high in getattr(asked, what):
            # As many as there were, which types cannot follow.
            of[name] = tuple((float(low), float(high)) if at == place else one for at, one in enumerate(of[name]))  # type: ignore[assignment]
    if (asked.network, asked.gpu) not in STEPS:
        known = ", ".join(f"{network} on {gpu}" for network, gpu in STEPS)
        parser.error(f"nothing is known of {asked.network} on {asked.gpu}; there are {known}")
    print(
        f"{asked.network} on {asked.gpu}, {asked.batch} pictures a GPU and step, {PICTURES:,} of train, {VAL:,} of val"
    )
    print("| GPUs | minutes an epoch | held up by | GPUs at work | start, minutes | what moves it |")
    print("| --- | --- | --- | --- | --- | --- |")
    for setup in SETUPS:
        print(line(setup, simulate(setup, asked.network, asked.gpu, asked.batch)))


if __name__ == "__main__":
    main()
