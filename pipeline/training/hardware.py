"""Which device and which precision a run really gets."""

import json
import logging
import platform
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from pipeline.common.atomic import write_atomically
from pipeline.common.cache_folder import cache_folder
from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.training.allocator import keep_freed_memory

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_FABRIC_NAMES: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
CLEARLY_FASTER = 1.2  # times: what bf16 loses in digits is paid for from here on
_REMEMBERED = "bf16.json"


def make_fabric(accelerator: str = "auto", precision: Precision = "auto", place: int = 0) -> Fabric:
    """One process on one device (of several GPUs that in this `place`); BadInput where the accelerator is not there."""
    device = _device_type(accelerator)
    if device == "cpu":
        keep_freed_memory()
        torch.set_flush_denormal(True)  # numbers below 1e-38 are zero: reckoning with them can take six times as long
    if device == "cuda":
        torch.backends.cudnn.deterministic = True  # else a convolution's gradients differ from run to run, for no gain
        # Else float32 has ten binary digits instead of 23 on GPUs that have TF32: fp32 is the same on every device.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    chosen = choose_precision(device) if precision == "auto" else precision
    if chosen == "fp16" and device == "cpu":
        raise BadInput("trainer.precision=fp16 needs a GPU; use auto, bf16 or fp32")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision; so do we
    return Fabric(accelerator=device, devices=[place] if device == "cuda" else 1, precision=_FABRIC_NAMES[chosen])


def check_devices(fabric: Fabric, trainer: schema.Trainer) -> None:
    """BadInput where this machine has not so many devices, or a batch not so many pictures."""
    kind, devices, processes = fabric.device.type, trainer.devices, trainer.devices * trainer.nodes
    there = torch.cuda.device_count() if kind == "cuda" else 1
    if kind != "cpu" and devices > there:
        found = "one GPU" if there == 1 else f"{there} GPUs"
        raise BadInput(f"trainer.devices={devices}: {found} can be used here; trainer.devices={there} uses all")
    if trainer.batch_size < processes:
        raise BadInput(
            f"trainer.batch_size={trainer.batch_size} is that of all {processes} processes together: give each at "
            "least one picture"
        )


def _device_type(accelerator: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there["gpu"] = there["cuda"]
    if accelerator == "auto":
        return "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    if not there.get(accelerator):
        have = ", ".join(name for name, is_there in there.items() if is_there)
        raise BadInput(f"trainer.accelerator={accelerator}: not on this machine; it has {have}")
    return "cuda" if accelerator == "gpu" else accelerator


def choose_precision(device: str) -> str:
    """`bf16` where the hardware multiplies it clearly faster than float32, `fp16` on older GPUs, else `fp32`."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "cpu":
        can = torch.cpu.get_capabilities()
        has_bf16 = any(can.get(unit) for unit in ("amx_bf16", "avx512_bf16", "bf16"))
        return "bf16" if has_bf16 and _bf16_multiplies_faster() else "fp32"
    return "fp32"


def _bf16_multiplies_faster() -> bool:
    """Whether bf16 is clearly faster on this processor; tried once for each number of threads, then remembered.

    Else runs on a processor where the two are level would differ by which of them a moment favoured.
    """
    machine = f"{_device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    file = cache_folder() / _REMEMBERED
    known = _read_remembered(file)
    if machine not in known:
        known[machine] = _times_faster() >= CLEARLY_FASTER
        with suppress(OSError):  # a machine that keeps nothing is asked again
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, lambda fresh: fresh.write_text(json.dumps(known, indent=1), encoding="utf-8"))
    return known[machine]


def _read_remembered(file: Path) -> dict[str, bool]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, bool)} if isinstance(known, dict) else {}


def _times_faster() -> float:
    """How many times faster bf16 multiplies than float32, tried in a tenth of a second: flags do not tell.

    With AMX it is several times; without it (or where a virtual machine hides it) some that have avx512_bf16 multiply
    half as fast as in float32.
    """
    factors = {kind: torch.ones(768, 768, dtype=kind) for kind in (torch.float32, torch.bfloat16)}
    seconds: dict[torch.dtype, list[float]] = {kind: [] for kind in factors}
    for _ in range(5):  # in turns, so that a busy moment slows both
        for kind, factor in factors.items():
            began = perf_counter()
            factor @ factor
            seconds[kind].append(perf_counter() - began)
    return min(seconds[torch.float32]) / max(min(seconds[torch.bfloat16]), 1e-9)


def resolved(fabric: Fabric, devices: int = 1) -> dict[str, Any]:
    """What was chosen: precision, device, threads, how many `devices` work together.

    Figures repeat to the last bit only where these are the same.
    """
    names = {name: short for short, name in _FABRIC_NAMES.items()}
    return {
        "precision": names[fabric._precision.precision],
        "device": fabric.device.type,
        "device_name": _device_name(fabric.device),
        "devices": devices,
        "threads": torch.get_num_threads(),
    }


def instructions() -> str:
    """Which vector instructions PyTorch takes on this processor: sums of others differ in their last bits."""
    return torch.backends.cpu.get_cpu_capability()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())
