"""What a served model knows of known pictures, by which it says `unknown`, and that others differ from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.familiar import Familiar, Looks, Usual, read_familiar, write_familiar
from pipeline.evaluation.strangeness import Strangeness, softened, strangeness_on
from pipeline.predictions.predictions import Predictions

FILE = "known.safetensors"  # of a run, among its predictions, and of a served model
_MOST = 2_000  # pictures of val that others are compared with


@dataclass(frozen=True, eq=False)
class Known:
    """`strangeness` tells single pictures, `usual` sets of them; without `familiar` both go by probabilities alone."""

    strangeness: Strangeness
    usual: Usual
    familiar: Familiar | None = None

    @classmethod
    def of(cls, val: Predictions, familiar: Familiar | None, looks: Looks | None) -> "Known":
        """What val supports, by its predictions at the temperature that was fitted."""
        strangeness = strangeness_on(val, None if looks is None else looks.distance)
        some = np.arange(0, len(val), -(-len(val) // _MOST))
        usual = Usual(softened(val)[some], None if looks is None else looks.take(some))
        return cls(strangeness, usual, familiar)

    def strange(self, said: Predictions, looks: Looks | None) -> np.ndarray | None:
        """(n,) how strange pictures are, by predictions at the temperature that was fitted and what was noted of them.

        None where nothing was, and it goes by that.
        """
        if self.familiar is not None and looks is None:
            return None
        return self.strangeness.of(softened(said), None if looks is None else looks.distance)

    def write(self, folder: Path) -> dict[str, Any]:
        """Its arrays into a folder; the rest as JSON holds it."""
        looks = {} if self.usual.looks is None else self.usual.looks._asdict()
        arrays = {"val.confidence": self.usual.confidence, **{f"val.{name}": array for name, array in looks.items()}}
        write_familiar(folder / FILE, self.familiar, arrays)
        return self.strangeness.to_dict()

    @classmethod
    def read(cls, stored: Path | bytes, plain: dict[str, Any]) -> "Known":
        """The inverse of `write`, of the file of arrays or its bytes. BadInput where these are damaged."""
        familiar, arrays = read_familiar(stored)
        looks = None if familiar is None else Looks(arrays["val.distance"], arrays["val.along"])
        return cls(Strangeness.from_dict(plain), Usual(arrays["val.confidence"], looks), familiar)
