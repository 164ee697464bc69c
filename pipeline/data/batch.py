"""What a network is shown of some pictures, under names, and what goes with it from the table to the figures.

A further input of a network is one more field of `Inputs`, filled by its kind (`data/beside`); all between hand it on.
"""

from typing import NamedTuple, Self

import numpy as np
import torch


class Inputs(NamedTuple):
    """What is known of n pictures, None where it is not at hand.

    `pixels` (n, 3, s, s) uint8, or (n, bytes) for several networks joined; `features` (n, f) float32, what the backbone
    made of the pixels, which it is then not asked for again; `below` (n, k) float32, what its lower part made of them:
    the upper one alone is asked then. `metadata` (n, k) float32, NaN where unknown. `attributes` (n, k) float32, shares
    that somebody set by hand, NaN where what the network reads of the picture stands.
    """

    pixels: torch.Tensor | None = None
    features: torch.Tensor | None = None
    below: torch.Tensor | None = None
    metadata: torch.Tensor | None = None
    attributes: torch.Tensor | None = None

    def to(self, device: torch.device, layout: torch.memory_format = torch.channels_last) -> Self:
        """The same on a device, pixels in that layout in memory."""

        def moved(value: torch.Tensor | None) -> torch.Tensor | None:
            if value is None:
                return None
            if value.ndim == 4:
                return value.to(device, memory_format=layout, non_blocking=True)
            return value.to(device, non_blocking=True)

        return type(self)(*map(moved, self))

    def take(self, rows: torch.Tensor | np.ndarray | slice) -> Self:
        """What is known of some of the pictures (k,)."""
        return type(self)(*(None if value is None else value[rows] for value in self))

    def also(self, other: Self) -> Self:
        """With what `other` knows of the same pictures beside it."""
        return type(self)(*(value if more is None else more for value, more in zip(self, other, strict=True)))

    @classmethod
    def together(cls, some: "list[Inputs]") -> Self:
        """The pictures of all, one after the other; what is known of all of them."""
        columns = ([value for value in column if value is not None] for column in zip(*some, strict=True))
        return cls(*(torch.cat(column) if len(column) == len(some) else None for column in columns))


NOTHING = Inputs()


class Batch(NamedTuple):
    """`inputs` of n pictures, their `labels` (n,) int64 and `rows` (n,) int64, places in the table.

    `end`: where the next batch of the pass starts, as whoever makes the batches counts.
    """

    inputs: Inputs
    labels: torch.Tensor
    rows: torch.Tensor
    end: int = 0

    def joined(self, other: Self) -> Self:
        """The pictures of both."""
        labels, rows = torch.cat([self.labels, other.labels]), torch.cat([self.rows, other.rows])
        return type(self)(Inputs.together([self.inputs, other.inputs]), labels, rows, other.end)
