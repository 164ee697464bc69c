"""What a served model says of pictures: one plain object a picture."""

from collections.abc import Sequence
from hashlib import sha256
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from pipeline.common.errors import BadInput
from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.serving.bundle import Bundle

BATCH = 16  # pictures: larger ones gain nothing on a processor and cost memory
_TINY = float(np.finfo(np.float32).tiny)


def answer(
    bundle: Bundle,
    pictures: Sequence[Path | bytes],
    top_k: int = 5,
    *,
    coverage: float | None = None,
    min_probability: float = 0.0,
    batch_size: int = BATCH,
    until: float = inf,
) -> list[dict[str, Any]]:
    """`label`, `probability`, `top_k` (a list of label and probability) and, with a taxonomy, its ranks.

    Probabilities are calibrated. With a `coverage` there is also `prediction_set`, labels that hold the true
    one at least so often, the likeliest first; with a `min_probability`, `answered`: whether the label is
    that likely. `pictures` are files or their bytes, asked `batch_size` at a time; none is begun after the time `until`
    (of `time.monotonic`). Raises UnreadablePicture that names the first one that cannot be read, by its path or by
    its place, and BadInput where time ran out.
    """
    if top_k < 1:
        raise BadInput(f"top_k={top_k}: at least 1")
    if not 0 <= min_probability <= 1:
        raise BadInput(f"min_probability={min_probability}: a share between 0 and 1")
    sets = None if coverage is None else bundle.calibration.set_rule(coverage)
    answers: list[dict[str, Any]] = []
    for start in range(0, len(pictures), batch_size):
        if monotonic() > until:
            raise BadInput(f"time ran out after {start:,} of {len(pictures):,} pictures: send fewer in a request")
        some = pictures[start : start + batch_size]
        scores = scores_of(bundle, some, start)
        found = [_one(bundle, row, top_k) for row in _softmax(scores / bundle.calibration.temperature)]
        if sets is not None:
            chosen = sets.choose(scores, [_digest(picture) for picture in some])
            for said, codes in zip(found, chosen, strict=True):
                said["prediction_set"] = [bundle.classes[code] for code in codes]
        if min_probability:
            found = [said | {"answered": said["probability"] >= min_probability} for said in found]
        answers += found
    return answers


@torch.inference_mode()
def scores_of(bundle: Bundle, pictures: Sequence[Path | bytes], first: int = 0) -> np.ndarray:
    """(n, k) float64 scores before calibration: a network's logits, or the logarithms of a rule's probabilities."""
    read: dict[Any, torch.Tensor] = {}  # members that see the same picture share its decoding,
    seen: dict[Any, torch.Tensor] = {}  # and members with the same backbone what it sees
    logits = []
    for member in bundle.members:
        how = member.spec.preprocessing
        if how not in read:
            read[how] = torch.stack([_read(how, picture, first + n) for n, picture in enumerate(pictures)])
        if (member.backbone, how) not in seen:
            seen[member.backbone, how] = member.features(read[how])
        logits.append(member.head(seen[member.backbone, how]).float())
    if bundle.rule is None:
        return logits[0].double().numpy()
    together = bundle.rule([one.softmax(1).numpy() for one in logits])
    return np.log(np.maximum(together, _TINY)).astype(np.float64)


def _softmax(scores: np.ndarray) -> np.ndarray:
    return torch.from_numpy(scores).softmax(1).numpy()


def _digest(picture: Path | bytes) -> str:
    """What the chance in a picture's set comes from: the same picture always has the same set."""
    return sha256(picture.read_bytes() if isinstance(picture, Path) else picture).hexdigest()


def _read(how: Any, picture: Path | bytes, place: int) -> torch.Tensor:
    try:
        return how.read(picture)
    except UnreadablePicture as error:
        name = error.path if isinstance(picture, Path) else f"picture {place}:"
        raise UnreadablePicture(name, error.reason, error.lasting) from None


def _one(bundle: Bundle, probabilities: np.ndarray, top_k: int) -> dict[str, Any]:
    likeliest = np.argsort(-probabilities, kind="stable")[:top_k]
    top = [{"label": bundle.classes[code], "probability": float(probabilities[code])} for code in likeliest]
    ranks = {} if bundle.taxonomy is None else bundle.taxonomy.loc[top[0]["label"]].dropna().to_dict()
    return {**top[0], "top_k": top, **({"taxonomy": ranks} if ranks else {})}
