"""How pictures become what a network sees, as a graph of ONNX: what `Preprocessing.fit_pixels` does, bit for bit.

PyTorch resizes bytes with weights of 16 bits, across first and then down, and rounds to whole numbers after each
(`_compute_index_ranges_int16_weights` in its UpSampleKernel.cpp). ONNX's own antialiased Resize has weights of other
digits: one value in some hundred differs by one, which moved a probability by up to 0.003. So the weights are reckoned
here, and resizing is a product of matrices, exact in 32 bits up to four times the size, which any runtime knows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.serving.onnx_file import PICTURES

PREFIX = "see"  # of the names of these nodes
_BITS, _MOST_BITS = 15, 22  # of a weight; by which whole numbers are made of weights at most
_CUBIC = -0.5  # Keys's a, as Pillow has it

Given = str | float | np.generic | np.ndarray


def pixels(number: int) -> str:
    """The name of what one of several ways of seeing gives: (n, 3, s, s) uint8."""
    return f"pixels_{number}"


def seeing(ways: Sequence[Preprocessing], opset: int, ir_version: int) -> onnx.ModelProto:
    """A model from pictures of any size, n of one size together, to what each of some ways makes of them."""
    made = _Nodes()
    planes = made.node("Transpose", PICTURES, perm=[0, 3, 1, 2])
    for number, how in enumerate(ways):
        made.node("Identity", _fitted(made, how, planes), output=pixels(number))
    given = helper.make_tensor_value_info(PICTURES, TensorProto.UINT8, ["n", "height", "width", 3])
    found = [
        helper.make_tensor_value_info(pixels(number), TensorProto.UINT8, ["n", 3, how.image_size, how.image_size])
        for number, how in enumerate(ways)
    ]
    graph = helper.make_graph(made.nodes, PREFIX, [given], found, made.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


class _Nodes:
    """A graph as it grows. What is given to a node is the name of a value, or a number, which is one of 64 bits."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *given: Given, output: str | None = None, **attributes: Any) -> str:
        """The name of what a node of that kind gives."""
        name = f"{PREFIX}_{len(self.nodes)}"
        names = [one if isinstance(one, str) else self._constant(np.asarray(one)) for one in given]
        self.nodes.append(helper.make_node(kind, names, [output or name], name=name, **attributes))
        return output or name

    def cast(self, value: str, kind: int) -> str:
        """The same as values of another kind."""
        return self.node("Cast", value, to=kind)

    def _constant(self, value: np.ndarray) -> str:
        name = f"{PREFIX}_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def _fitted(made: _Nodes, how: Preprocessing, planes: str) -> str:
    """(n, 3, h, w) uint8 -> (n, 3, s, s) uint8."""
    side = how.image_size
    if how.fit == "squash":
        return _resized(made, how, planes, [side, side])
    lengths = made.node("Shape", planes, start=2)  # (2,) height and width
    if how.fit == "crop":
        shorter = made.node("ReduceMin", lengths, keepdims=1)
        starts = _rounded(made, made.node("Sub", lengths, shorter), 2.0)
        ends = made.node("Add", starts, shorter)
        return _resized(made, how, made.node("Slice", planes, starts, ends, np.array([2, 3])), [side, side])
    longest = made.cast(made.node("ReduceMax", lengths, keepdims=1), TensorProto.DOUBLE)
    inner = made.node("Max", _rounded(made, made.node("Mul", lengths, side), longest), 1)
    height, width = (made.node("Gather", inner, place) for place in (0, 1))
    room = made.node("Sub", side, inner)
    before = made.node("Div", room, 2)
    pads = made.node("Concat", before, made.node("Sub", room, before), axis=0)
    ground = np.array([round(255 * value) for value in how.mean], np.int32).reshape(1, 3, 1, 1)
    # Padded with 0 as what they differ from the ground by, as Pad knows one value for all three colours.
    seen = made.cast(_resized(made, how, planes, [height, width]), TensorProto.INT32)
    bordered = made.node("Pad", made.node("Sub", seen, ground), pads, "", np.array([2, 3]))
    return made.cast(made.node("Add", bordered, ground), TensorProto.UINT8)


def _rounded(made: _Nodes, whole: str, divisor: str | float) -> str:
    """A quotient as a whole number as Python has it: worked out in 64 bits, rounded half to even."""
    exact = made.node("Div", made.cast(whole, TensorProto.DOUBLE), divisor)
    return made.cast(made.node("Round", exact), TensorProto.INT64)


def _resized(made: _Nodes, how: Preprocessing, planes: str, sizes: Sequence[str | int]) -> str:
    """(n, 3, h, w) uint8 -> (n, 3, *sizes) uint8."""
    lengths = [made.node("Gather", made.node("Shape", planes), axis) for axis in (2, 3)]
    down, across = (_weights(made, how, *pair) for pair in zip(lengths, sizes, strict=True))
    seen = made.cast(planes, TensorProto.FLOAT)
    seen = _whole(made, made.node("MatMul", seen, made.node("Transpose", across[0], perm=[1, 0])), across[1])
    return made.cast(_whole(made, made.node("MatMul", down[0], seen), down[1]), TensorProto.UINT8)


def _whole(made: _Nodes, sums: str, unit: str) -> str:
    """Sums of weights of `unit` rounded, half up, to values of 8 bits."""
    rounded = made.node("Floor", made.node("Add", made.node("Div", sums, unit), np.float32(0.5)))
    return made.node("Clip", rounded, np.float32(0), np.float32(255))


def _weights(made: _Nodes, how: Preprocessing, length: str, size: str | int) -> tuple[str, str]:
    """(size, length) whole numbers by which pixels count, and what stands for 1 among them; as float32."""

    def counted(until: str | int) -> str:
        return made.node("Add", made.cast(made.node("Range", 0, until, 1), TensorProto.DOUBLE), 0.5)

    size = made.node("Identity", size)
    scale = made.node("Div", *(made.cast(one, TensorProto.DOUBLE) for one in (length, size)))
    centres = made.node("Unsqueeze", made.node("Mul", counted(size), scale), np.array([1]))
    distance = made.node("Abs", made.node("Sub", counted(length), centres))
    kernel = _kernel(made, how, made.node("Div", distance, made.node("Max", scale, 1.0)))
    shares = made.node("Div", kernel, made.node("ReduceSum", kernel, np.array([1]), keepdims=1))
    # The largest unit with which no weight takes more than its bits.
    room = made.node("Div", 2.0**_BITS - 0.5, made.node("ReduceMax", shares, keepdims=0))
    bits = made.node("Sub", made.node("Ceil", made.node("Div", made.node("Log", room), float(np.log(2)))), 1.0)
    unit = made.node("Pow", 2.0, made.node("Min", bits, float(_MOST_BITS)))
    scaled = made.node("Mul", shares, unit)
    nearest = made.node("Floor", made.node("Add", made.node("Abs", scaled), 0.5))
    whole = made.node("Mul", made.node("Sign", scaled), nearest)
    return made.cast(whole, TensorProto.FLOAT), made.cast(unit, TensorProto.FLOAT)


def _kernel(made: _Nodes, how: Preprocessing, x: str) -> str:
    """What a pixel counts at a distance `x` of 0 or more: the triangle, or Keys's cubic (1981)."""
    if how.interpolation == "bilinear":
        return made.node("Max", made.node("Sub", 1.0, x), 0.0)

    def polynomial(*factors: float) -> str:
        value = made.node("Mul", x, factors[0])
        for factor in factors[1:-1]:
            value = made.node("Mul", made.node("Add", value, factor), x)
        return made.node("Add", value, factors[-1])

    near = polynomial(_CUBIC + 2, -(_CUBIC + 3), 0.0, 1.0)
    far = polynomial(_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC)
    beyond = made.node("Where", made.node("Less", x, 2.0), far, 0.0)
    return made.node("Where", made.node("Less", x, 1.0), near, beyond)
