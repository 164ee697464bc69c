"""What an exported file makes of pictures, beside what training makes of them."""

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.exporting.seeing import pixels, seeing
from pipeline.serving.onnx_file import PICTURES

SHAPES = ((50, 61), (101, 400), (333, 212), (48, 48), (5, 48))


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_pictures_of_any_size_are_seen_to_the_bit_as_in_training(fit):
    ways = [Preprocessing(48, fit, how) for how in ("bilinear", "bicubic")]
    session = onnxruntime.InferenceSession(seeing(ways, 18, 10).SerializeToString())
    for shape in SHAPES:
        shown = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
        found = session.run([pixels(0), pixels(1)], {PICTURES: shown})
        for how, seen in zip(ways, found, strict=True):
            wanted = [how.fit_pixels(torch.from_numpy(one).permute(2, 0, 1)) for one in shown]
            np.testing.assert_array_equal(seen, torch.stack(wanted).numpy(), err_msg=f"{how.interpolation} {shape}")
