"""An exported file beside the model it was made of: the same answers to real pictures, how fast, and how right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import onnxruntime
import torch

from pipeline.common.errors import Stopped
from pipeline.data.batch import Inputs
from pipeline.data.reading.decoding import decode, read_file
from pipeline.ensembles.scoring import said_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.onnx_file import PICTURES, PROBABILITIES

TOLERANCE = 1e-3  # of a probability
_WARMING = 3  # pictures that are not timed

Picture = bytes | np.ndarray  # as it lies in a file, or (h, w, 3) uint8
Pictures = Sequence[Picture]
Asked = Callable[[Picture], np.ndarray]  # a picture's probabilities (k,) float64


@dataclass(frozen=True)
class Measured:
    """Of one form of a model: its `size` in bytes, `probabilities` (n, k) float64 and pictures a second.

    Pictures are asked one at a time, from a file's bytes to the answer.
    """

    name: str
    size: int
    probabilities: np.ndarray
    rate: float

    def accuracy(self, labels: np.ndarray) -> float:
        """The share of pictures whose likeliest class is that of `labels` (n,)."""
        return float((self.probabilities.argmax(1) == labels).mean())

    def farthest(self, other: "Measured") -> float:
        """The largest difference of a probability."""
        return float(np.abs(self.probabilities - other.probabilities).max())

    def agreement(self, other: "Measured") -> float:
        """The share of pictures with the same likeliest class."""
        return float((self.probabilities.argmax(1) == other.probabilities.argmax(1)).mean())


def pictures_of(sources: Sequence[str] | np.ndarray) -> Pictures:
    """What pictures of a table hold. Raises UnreadablePicture, which names the first that cannot be decoded."""
    for one in sources:
        if not isinstance(one, np.ndarray):
            decode(one, 1)
    return [one if isinstance(one, np.ndarray) else read_file(one) for one in sources]


def network_asked(bundle: Bundle) -> Asked:
    """The model itself, in evaluation mode on a processor."""
    wants = list(dict.fromkeys(member.spec.wants for member in bundle.members))

    def ask(picture: Picture) -> np.ndarray:
        inputs = {want: Inputs(want.reading.read(picture)[None]) for want in wants}
        scores = said_of(bundle.members, bundle.rule, inputs).scores
        return (scores.double() / bundle.calibration.temperature).softmax(1).numpy()[0]

    return ask


def file_asked(model: bytes, bundle: Bundle) -> Asked:
    """An exported file's bytes, asked by ONNX Runtime."""
    session = session_of(model)
    side = max(member.spec.preprocessing.image_size for member in bundle.members)

    def ask(picture: Picture) -> np.ndarray:
        pixels = picture if isinstance(picture, np.ndarray) else decode(picture, side)
        return session.run([PROBABILITIES], {PICTURES: pixels[None]})[0][0].astype(np.float64)

    return ask


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    """A model's bytes in ONNX Runtime, with as many threads as PyTorch has, so that they can be compared."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measured(name: str, size: int, ask: Asked, pictures: Pictures) -> Measured:
    """What it says of pictures, asked one at a time, and how fast."""
    for picture in pictures[:_WARMING]:
        ask(picture)
    begun = perf_counter()
    found = np.stack([ask(picture) for picture in pictures])
    return Measured(name, size, found, len(pictures) / (perf_counter() - begun))


def check_same(original: Measured, exported: Measured, tolerance: float = TOLERANCE) -> None:
    """Raise Stopped where a file answers otherwise than its original.

    A likeliest class may be another only where two are as likely, to the digits that are compared.
    """
    differ = np.flatnonzero(~np.isclose(original.probabilities, exported.probabilities, rtol=0, atol=tolerance).all(1))
    first, second = np.sort(original.probabilities, axis=1)[:, :-3:-1].T
    other = original.probabilities.argmax(1) != exported.probabilities.argmax(1)
    many, wrong = len(original.probabilities), len(differ) + int((other & (first - second > 2 * tolerance)).sum())
    if wrong:
        raise Stopped(
            f"{exported.name} answers otherwise than the model on {wrong:,} of {many:,} val pictures, by up to "
            f"{exported.farthest(original):.2g} of a probability where {tolerance:g} may be: nothing was written"
        )
