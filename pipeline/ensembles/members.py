"""What makes an ensemble: two or more runs, with the same classes and the same pictures."""

from collections.abc import Mapping

from pipeline.common.errors import BadInput
from pipeline.predictions.alignment import aligned
from pipeline.predictions.predictions import Predictions


def checked(members: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """The members by name, pictures in the first one's order.

    Raises BadInput for a single member, and for all that `aligned` refuses, naming the member.
    """
    if len(members) == 1:
        raise BadInput(f"one member ({next(iter(members))}) is no ensemble: choose at least two runs")
    return aligned(members)
