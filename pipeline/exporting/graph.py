"""A served model converted to ONNX: pictures in, logits and probabilities out."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from copy import deepcopy

import onnx
import torch
from onnx import compose

from pipeline.common.errors import BadInput
from pipeline.exporting.network import Whole, ways_of
from pipeline.exporting.seeing import pixels, seeing
from pipeline.models.convolutions import as_written
from pipeline.serving.bundle import Bundle
from pipeline.serving.onnx_file import FEATURES, LOGITS, PROBABILITIES

OLDEST_OPSET = 18  # that PyTorch converts to


def check_opset(opset: int) -> None:
    """Raise BadInput for a version of ONNX's operators that cannot be written."""
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise BadInput(
            f"opset={opset}: from {OLDEST_OPSET}, the oldest that PyTorch converts to, up to {newest}, which "
            "the onnx package here knows"
        )


def check_convertible(bundle: Bundle) -> None:
    """Raise BadInput for a model that reads more than pictures."""
    if bundle.columns:
        raise BadInput(
            f"this model reads {', '.join(bundle.columns)} beside its pictures, and an exported file sees pictures "
            "alone: export a run that was trained with metadata=none and data.crop=none"
        )


def converted(bundle: Bundle, opset: int = OLDEST_OPSET) -> onnx.ModelProto:
    """The networks: what each way of seeing makes of pictures -> what `Whole` gives, by these names.

    Raises BadInput where a network cannot be converted.
    """
    whole = deepcopy(Whole(bundle)).cpu().eval()
    as_written(whole)
    shown = tuple(torch.zeros(2, *how.shape, dtype=torch.uint8) for how in whole.ways)
    outputs = [LOGITS, PROBABILITIES, *([FEATURES] if bundle.rule is None else [])]
    many = torch.export.Dim("n", min=1)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                whole, shown, dynamo=True, opset_version=opset, external_data=False, verbose=False,
                input_names=[pixels(number) for number in range(len(shown))], output_names=outputs,
                dynamic_shapes=(tuple({0: many} for _ in shown),),
            )  # fmt: skip
    except Exception as error:  # whatever of PyTorch or onnxscript a network's own code meets
        names = " and ".join(dict.fromkeys(member.spec.name for member in bundle.members))
        raise BadInput(f"{names} cannot be converted to ONNX ({_reason(error)})") from error
    assert program is not None
    return program.model_proto


def with_eyes(network: onnx.ModelProto, bundle: Bundle) -> onnx.ModelProto:
    """A converted network that sees by itself: `pictures` (n, h, w, 3) uint8 of any size."""
    ways = ways_of(bundle)
    eyes = seeing(ways, network.opset_import[0].version, network.ir_version)
    made = compose.merge_models(eyes, network, io_map=[(pixels(number), pixels(number)) for number in range(len(ways))])
    del made.opset_import[1:]  # the same twice, at which ONNX Runtime's tools stumble
    onnx.checker.check_model(made)
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter tells its own developers, a whole program of a way that it tried, is kept from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    aside = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(aside), contextlib.redirect_stderr(aside):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def _reason(error: Exception) -> str:
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0]
