"""A converted model with 8 bits a weight and a value: calibrated on training pictures, a quarter of the size."""

import logging
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from pipeline.data.reading.decoding import decode
from pipeline.exporting.checking import Pictures
from pipeline.exporting.seeing import PREFIX
from pipeline.serving.bundle import Bundle
from pipeline.serving.onnx_file import PICTURES

# What is worth it; all else, the last layer's softmax among it, keeps its digits.
_KINDS = ["Conv", "MatMul", "Gemm", "Add", "Clip", "Relu", "MaxPool", "GlobalAveragePool", "ReduceMean"]


class _Shown:
    """Training pictures, one at a time: what has `get_next` is a `CalibrationDataReader` to ONNX Runtime."""

    def __init__(self, pictures: Pictures, side: int) -> None:
        self._pictures, self._side = iter(pictures), side

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next, as the model is given it."""
        one = next(self._pictures, None)
        if one is None:
            return None
        return {PICTURES: (one if isinstance(one, np.ndarray) else decode(one, self._side))[None]}


def quantised(model: onnx.ModelProto, taught: Pictures, bundle: Bundle, scratch: Path) -> onnx.ModelProto:
    """The model in int8: weights a channel, values by the ranges that they have on the `taught` pictures."""
    whole, small = scratch / "whole.onnx", scratch / "small.onnx"
    onnx.save(model, whole)
    side = max(member.spec.preprocessing.image_size for member in bundle.members)
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # what it tells of on the root's logger is for its own developers
    try:
        quantize_static(
            whole, small, _Shown(taught, side), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=_KINDS,
            nodes_to_exclude=[node.name for node in model.graph.node if node.name.startswith(PREFIX)],
        )  # fmt: skip
    finally:
        logging.root.setLevel(level)
    return onnx.load(small)
