"""The ONNX file that animl (https://github.com/conservationtechlab/animl-py) loads as a classifier.

It gives pictures resized to the network's size, (n, 3, s, s) float32 from 0 to 1, takes the first output and applies
softmax itself; the classes' names it reads from the metadata's `class_dict`.
"""

from __future__ import annotations

import io
import json

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper
from PIL import Image

from pipeline.common.errors import BadInput
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.exporting.checking import Asked, session_of
from pipeline.exporting.described import tell
from pipeline.exporting.network import ways_of
from pipeline.exporting.seeing import pixels
from pipeline.serving.bundle import Bundle
from pipeline.serving.onnx_file import LOGITS

_INPUT = "image"


def seen_by(bundle: Bundle) -> Preprocessing:
    """How the model's networks see pictures. BadInput where that is not as animl shows them."""
    how, *others = ways_of(bundle)
    if others or how.fit != "squash":
        raise BadInput("form=animl: animl squashes pictures into one square, as data.fit=squash trains; take form=onnx")
    return how


def for_animl(network: onnx.ModelProto, bundle: Bundle) -> onnx.ModelProto:
    """A converted network with animl's input, whose logits are divided by the temperature. BadInput as `seen_by`."""
    how = seen_by(bundle)
    shape: list[str | int | None] = ["n", 3, how.image_size, how.image_size]
    constants = [numpy_helper.from_array(np.array(255, np.float32), "levels")]
    nodes = [
        helper.make_node("Mul", [_INPUT, "levels"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["whole"]),
        helper.make_node("Cast", ["whole"], [pixels(0)], to=TensorProto.UINT8),
    ]
    eyes = helper.make_graph(
        nodes, "animl", [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(pixels(0), TensorProto.UINT8, shape)], constants,
    )  # fmt: skip
    first = helper.make_model(eyes, opset_imports=network.opset_import, ir_version=network.ir_version)
    made = compose.merge_models(first, network, io_map=[(pixels(0), pixels(0))])
    del made.opset_import[1:]
    temperature = numpy_helper.from_array(np.array(bundle.calibration.temperature, np.float32), "temperature")
    made.graph.initializer.append(temperature)
    made.graph.node.append(helper.make_node("Div", [LOGITS, "temperature"], ["calibrated_logits"]))
    del made.graph.output[:]
    made.graph.output.append(
        helper.make_tensor_value_info("calibrated_logits", TensorProto.FLOAT, ["n", len(bundle.classes)])
    )
    names = {str(code): name for code, name in enumerate(bundle.classes)}
    tell(made, {"class_dict": json.dumps(names)})
    onnx.checker.check_model(made)
    return made


def asked(model: bytes, side: int) -> Asked:
    """How animl asks such a file: decoded and resized by Pillow, the first output's softmax."""
    session = session_of(model)

    def ask(picture: bytes | np.ndarray) -> np.ndarray:
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(io.BytesIO(picture))
        shown = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.float32) / 255
        (logits,) = session.run(None, {session.get_inputs()[0].name: shown.transpose(2, 0, 1)[None]})
        likely = np.exp(logits[0].astype(np.float64) - logits.max())
        return likely / likely.sum()

    return ask
