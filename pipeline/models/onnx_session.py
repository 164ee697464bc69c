"""A backbone asked through ONNX Runtime in PyTorch's stead: converted in memory, for as long as somebody asks.

It folds batch-norms, fuses activations into convolutions and lays maps out in blocks once, where PyTorch does some of
that in each batch and the rest not at all.
"""

from __future__ import annotations

import io
import warnings
from copy import deepcopy
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.data.batch import Inputs
from pipeline.models.convolutions import as_written

if TYPE_CHECKING:
    from pipeline.models.sight import Sight

ALIKE = 1e-4  # of a picture's features, by norm: mostly it is 1e-6, and float16, as which they are kept, has 5e-4
_NEEDED = ("onnx", "onnxruntime")
_OPSET = 18
_AT_ONCE = 8  # pictures: their maps stay in the cache (vit_small: 114 ms a picture, 131 with 32 at once)


class NotConvertedError(Exception):
    """Why a network stays with PyTorch."""


def lacking() -> list[str]:
    """What of the extra `onnx` is not installed."""
    return [name for name in _NEEDED if find_spec(name) is None]


def runtime() -> ModuleType:
    """ONNX Runtime, which several packages bring. NotConvertedError where it is installed, but does not load here."""
    try:
        import onnxruntime
    except Exception as error:  # whatever its own libraries meet
        raise NotConvertedError(f"ONNX Runtime does not load: {_first_line(error)}") from error
    return onnxruntime


class OnnxSession:
    """Pixels (n, 3, s, s) uint8 -> features (n, f) float32, as the sight of one backbone gives them, on a processor.

    With as many threads as PyTorch has, which sleep between batches. Raises NotConvertedError for a network that cannot
    be converted, or that then says something else.
    """

    def __init__(self, sight: Sight) -> None:
        onnxruntime = runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        # Threads that spin while they wait take the cores from those that read pictures, and from other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.set_denormal_as_zero", "1")  # as PyTorch is told
        (part,) = sight.parts
        # Of another size than it is converted with, so that a number of pictures that was taken for fixed shows.
        shown = torch.randint(0, 256, (3, *part.preprocessing.shape), generator=torch.Generator(), dtype=torch.uint8)
        try:
            made = _converted(sight, shown[:2])
            self._session = onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
            found = self(shown)
        except Exception as error:  # whatever of PyTorch or ONNX Runtime a network's own code meets
            raise NotConvertedError(f"it cannot be converted to ONNX: {_first_line(error)}") from error
        with torch.inference_mode():
            expected = sight.features(Inputs(shown)).float()
        if found.shape != expected.shape or not _alike(found, expected):
            raise NotConvertedError("ONNX Runtime says something else of pictures")

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        some = torch.split(pixels.contiguous(), _AT_ONCE)
        return torch.cat([torch.from_numpy(self._session.run(None, {"pixels": one.numpy()})[0]) for one in some])


def _alike(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool(((found - expected).norm(dim=1) <= ALIKE * expected.norm(dim=1)).all())


class _Shown(nn.Module):
    """A sight that normalises in two passes over the pixels instead of three."""

    def __init__(self, sight: Sight) -> None:
        super().__init__()
        self.backbone, self.scale, self.shift = sight.backbone, 1 / (255 * sight.std), -sight.mean / sight.std

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # The exporter turns this on, whatever its `verbose`: hundreds of lines of a network that it cannot convert.
        torch._C._jit_set_onnx_log_enabled(False)
        return self.backbone(pixels.float() * self.scale + self.shift)


def _converted(sight: Sight, shown: torch.Tensor) -> bytes:
    """By tracing, in a fifteenth of the time that the exporter takes of which files are made (0.4 and 7 s).

    That time comes off what is gained; what tracing gets wrong, comparing tells.
    """
    whole = deepcopy(_Shown(sight)).eval()
    as_written(whole)
    made, many = io.BytesIO(), {0: "n"}
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            whole, (shown.clone(),), made, dynamo=False,  # type: ignore[arg-type]  # which takes a stream
            opset_version=_OPSET, input_names=["pixels"],
            output_names=["features"], dynamic_axes={"pixels": many, "features": many},
        )  # fmt: skip
    return made.getvalue()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
