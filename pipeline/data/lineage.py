"""Trees given as names and their parents: the line from a taxon up to the root."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from pipeline.common.errors import BadInput

T = TypeVar("T", bound=Hashable)


def line(start: T, parents: Mapping[T, T], source: str) -> list[T]:
    """A taxon and those above it, as far as their parents are known. BadInput, with `source`, for a cycle."""
    found = [start]
    while (parent := parents.get(found[-1])) is not None:
        if parent in found:
            ring = " < ".join(map(str, [*found[found.index(parent) :], parent]))
            raise BadInput(f"{source}: a cycle, each the parent of the one before: {ring}; put one of them right")
        found.append(parent)
    return found
