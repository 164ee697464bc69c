"""Pictures far from all others, by what is known of each without a network: size, shape, brightness, colour."""

import numpy as np
import pandas as pd

_FAR = 5.0  # robust standard deviations
_LEAST = 20  # pictures: of fewer nothing can be said to be odd


def outliers(facts: pd.DataFrame, most: int = 12) -> pd.DataFrame:
    """Up to `most` of the pictures measured (see `measure`), the oddest first: `row`, `why`, `distance`.

    The distance of a figure is in robust standard deviations from the median (1.4826 times the median absolute
    deviation: Rousseeuw and Croux 1993); a picture's is that of its oddest figure, which `why` names.
    """
    good = facts[facts["problem"] == ""]
    if len(good) < _LEAST:
        return pd.DataFrame(columns=["row", "why", "distance"])
    far = _figures(good).apply(_distance)
    oddest = far.abs().to_numpy().argmax(axis=1)
    signed = far.to_numpy()[np.arange(len(far)), oddest]
    why = [_WORDS[far.columns[column]][int(value > 0)] for column, value in zip(oddest, signed, strict=True)]
    found = pd.DataFrame({"row": good["row"].to_numpy(), "why": why, "distance": np.abs(signed)})
    found = found[found["distance"] > _FAR].sort_values("distance", ascending=False, kind="stable")
    return found.head(most).reset_index(drop=True)


_WORDS = {  # below the median, above it
    "pixels": ("very small", "very large"),
    "shape": ("very tall", "very wide"),
    "brightness": ("very dark", "very bright"),
    "contrast": ("almost plain", "very contrasty"),
    "warmth": ("very blue", "very red"),
    "green": ("very purple", "very green"),
}


def _figures(facts: pd.DataFrame) -> pd.DataFrame:
    """Six figures of each picture, in the scale in which they are spread evenly."""
    width, height = facts["width"].to_numpy(float), facts["height"].to_numpy(float)
    mean, square = np.array(facts["mean"].tolist()), np.array(facts["square"].tolist())
    red, green, blue = mean.T
    return pd.DataFrame({
        "pixels": np.log(width * height),
        "shape": np.log(width / height),
        "brightness": mean.mean(1),
        "contrast": np.sqrt(np.maximum(square - mean**2, 0)).mean(1),
        "warmth": red - blue,
        "green": green - (red + blue) / 2,
    })  # fmt: skip


def _distance(values: "pd.Series[float]") -> "pd.Series[float]":
    """In robust deviations from the median; 0 where more than half of all are alike."""
    apart = values - values.median()
    spread = 1.4826 * apart.abs().median()
    return apart / spread if spread > 0 else apart * 0
