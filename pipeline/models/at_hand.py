"""Which networks of the shelf have their weights on this machine, and what is to be fetched for the others."""

from functools import cache

from pipeline.common.errors import BadInput
from pipeline.models.published import named, weights_file
from pipeline.models.shelf import shelf


def missing(name: str, weights: str) -> str | None:
    """Why published weights are not on this machine, and where they are; None where they are here. Nobody is asked."""
    try:
        weights_file(named(name), weights, fetch=False)
    except BadInput as error:
        return str(error)
    return None


@cache
def networks_here() -> tuple[str, ...]:
    """The names on the shelf whose weights are here; what the others lack is printed, once. BadInput where none is."""
    here: list[str] = []
    for one in shelf():
        if lacks := missing(one.name, one.weights):
            print(f"left out: model={one.answer}: {lacks}")
        else:
            here.append(one.answer)
    if not here:
        raise BadInput("of no network of the shelf are the weights here: python -m pipeline.models lists them")
    return tuple(here)
