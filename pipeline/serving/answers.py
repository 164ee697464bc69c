"""What a served model says of pictures: one plain object a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.data.decoding import UnreadablePicture
from pipeline.errors import BadInput
from pipeline.serving.bundle import Bundle

_BATCH = 16  # pictures: larger ones gain nothing on a processor and cost memory


@torch.inference_mode()
def answer(bundle: Bundle, pictures: Sequence[Path | bytes], top_k: int = 5) -> list[dict[str, Any]]:
    """`label`, `probability`, `top_k` (a list of label and probability) and, with a taxonomy, its ranks.

    `pictures` are files or their bytes. Raises BadInput that names the first picture that cannot be read, by
    its path or by its place.
    """
    if top_k < 1:
        raise BadInput(f"top_k={top_k}: at least 1")
    answers: list[dict[str, Any]] = []
    for start in range(0, len(pictures), _BATCH):
        probabilities = _probabilities(bundle, pictures[start : start + _BATCH], start)
        values, codes = probabilities.topk(min(top_k, len(bundle.classes)), dim=1)
        answers += [
            _one(bundle, row, code) for row, code in zip(values.tolist(), codes.tolist(), strict=True)
        ]
    return answers


def _probabilities(bundle: Bundle, pictures: Sequence[Path | bytes], first: int) -> torch.Tensor:
    total = torch.zeros(len(pictures), len(bundle.classes))
    read: dict[Any, torch.Tensor] = {}
    for member in bundle.members:
        how = member.network.spec.preprocessing
        if how not in read:  # members that see the same picture share its decoding
            read[how] = torch.stack([_read(how, picture, first + n) for n, picture in enumerate(pictures)])
        total += member.weight * member.network(read[how]).softmax(1)
    return total


def _read(how: Any, picture: Path | bytes, place: int) -> torch.Tensor:
    try:
        return how.read(picture)
    except UnreadablePicture as error:
        raise BadInput(
            str(error) if isinstance(picture, Path) else f"picture {place}: {error.reason}"
        ) from None


def _one(bundle: Bundle, probabilities: list[float], codes: list[int]) -> dict[str, Any]:
    top = [
        {"label": bundle.classes[code], "probability": probability}
        for code, probability in zip(codes, probabilities, strict=True)
    ]
    ranks = {} if bundle.taxonomy is None else bundle.taxonomy.loc[top[0]["label"]].dropna().to_dict()
    return {**top[0], "top_k": top, **({"taxonomy": ranks} if ranks else {})}
