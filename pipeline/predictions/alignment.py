"""Predictions of several runs side by side: only for the same classes and the same pictures."""

from collections.abc import Mapping

import numpy as np

from pipeline.common.errors import BadInput
from pipeline.common.wording import first_few
from pipeline.predictions.predictions import Predictions

SHOWN_DIFFERENCES = 3


def aligned(members: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """The members by name, all with their pictures in the first one's order.

    Raises BadInput, naming the member and the first differences, where a member has other classes, the same
    classes in another order, other pictures, other labels, NaN or nothing at all.
    """
    if not members:
        raise BadInput("no run was chosen: name at least one, or widen the filter")
    for name, member in members.items():
        member.check_usable(name)
    first_name, first = next(iter(members.items()))
    return {name: _like(first_name, first, name, member) for name, member in members.items()}


def _like(first_name: str, first: Predictions, name: str, member: Predictions) -> Predictions:
    """The member with its pictures in the first one's order."""
    _check_classes(first_name, first, name, member)
    _check_pictures(first_name, first, name, member)
    if not np.array_equal(first.ids, member.ids):
        place = {picture: row for row, picture in enumerate(member.ids)}
        member = member.take(np.array([place[picture] for picture in first.ids]))
    differing = np.flatnonzero(first.labels != member.labels)
    if len(differing):
        row = differing[0]
        truths = [member.classes[member.labels[row]], first.classes[first.labels[row]]]
        raise BadInput(
            f"{name} labels {len(differing)} pictures otherwise than {first_name} (first: {first.ids[row]}, "
            f"{truths[0]} there, {truths[1]} here): choose runs on the same data"
        )
    return member


def _check_classes(first_name: str, first: Predictions, name: str, member: Predictions) -> None:
    if member.classes == first.classes:
        return
    if set(member.classes) == set(first.classes):
        pairs = enumerate(zip(first.classes, member.classes, strict=True))
        place, (here, there) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        raise BadInput(
            f"{name} has the classes of {first_name} in another order "
            f"(class {place} is {there}, not {here}): train it again on the same data"
        )
    raise BadInput(
        f"{name} has other classes than {first_name} ({_differences(first.classes, member.classes)}): "
        "choose runs on the same data"
    )


def _check_pictures(first_name: str, first: Predictions, name: str, member: Predictions) -> None:
    for owner, predictions in ((first_name, first), (name, member)):
        unique, counts = np.unique(predictions.ids.astype(str), return_counts=True)
        if len(unique) < len(predictions):
            raise BadInput(f"{owner} holds {unique[counts.argmax()]} more than once: score the run again")
    if set(first.ids) != set(member.ids):
        raise BadInput(
            f"{name} has other pictures than {first_name} ({_differences(first.ids, member.ids)}): "
            "choose runs on the same data and split"
        )


def _differences(expected: "list[str] | np.ndarray", found: "list[str] | np.ndarray") -> str:
    """`"lacks a, b and 3 more; adds c"`."""
    parts = []
    for verb, names in (("lacks", set(expected) - set(found)), ("adds", set(found) - set(expected))):
        if names:
            parts.append(f"{verb} {first_few(sorted(names), SHOWN_DIFFERENCES)}")
    return "; ".join(parts)
