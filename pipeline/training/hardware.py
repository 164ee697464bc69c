"""Which device and which precision a run really gets."""

import logging
import platform
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from pipeline.errors import BadInput

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_FABRIC_NAMES: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_fabric(accelerator: str = "auto", precision: Precision = "auto") -> Fabric:
    """One process on one device; BadInput where the accelerator is not there."""
    device = _device_type(accelerator)
    chosen = choose_precision(device) if precision == "auto" else precision
    if chosen == "fp16" and device == "cpu":
        raise BadInput("trainer.precision=fp16 needs a GPU; use auto, bf16 or fp32")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision; so do we
    return Fabric(accelerator=device, devices=1, precision=_FABRIC_NAMES[chosen])


def _device_type(accelerator: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there["gpu"] = there["cuda"]
    if accelerator == "auto":
        return "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    if not there.get(accelerator):
        have = ", ".join(name for name, is_there in there.items() if is_there)
        raise BadInput(f"trainer.accelerator={accelerator}: not on this machine; it has {have}")
    return accelerator


def choose_precision(device: str) -> str:
    """`bf16` where the hardware multiplies it natively, `fp16` on older GPUs, else `fp32`.

    A processor that only emulates bf16 is slower with it than without.
    """
    if device in ("cuda", "gpu"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "cpu":
        can = torch.cpu.get_capabilities()
        return "bf16" if any(can.get(unit) for unit in ("amx_bf16", "avx512_bf16", "bf16")) else "fp32"
    return "fp32"


def resolved(fabric: Fabric) -> dict[str, Any]:
    """What was chosen: precision, device, threads. Figures repeat to the last bit only where these are the same."""
    names = {name: short for short, name in _FABRIC_NAMES.items()}
    return {
        "precision": names[fabric._precision.precision],
        "device": fabric.device.type,
        "device_name": _device_name(fabric.device),
        "devices": fabric.world_size,
        "threads": torch.get_num_threads(),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())
