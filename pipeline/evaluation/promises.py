"""Thresholds that keep a share of something below what was promised, by that share in percent, rising."""

from typing import NamedTuple

from pipeline.common.errors import BadInput

Thresholds = tuple[tuple[int, float], ...]


class Promise(NamedTuple):
    """What may be asked of a model: by which `name`, the share that is `usual`, and the words in which one that is too
    small is refused: that it cannot promise `so_few`, and what is said where it promises `none` at all.
    """

    name: str
    usual: float
    so_few: str
    none: str

    def kept(self, thresholds: Thresholds, asked: float | None) -> tuple[float, float] | None:
        """The promised share, at most what is `asked`, and its threshold.

        None asked: the usual one, else the least that can be promised, else None. BadInput where `asked` cannot be.
        """
        if asked is None:
            least = thresholds[0][0] / 100 if thresholds else 0.0
            return _at_most(thresholds, max(self.usual, least))
        if not 0 < asked < 1:
            raise BadInput(f"{self.name}={asked}: a share between 0 and 1, such as {self.usual}")
        found = _at_most(thresholds, asked)
        if found and asked > (most := thresholds[-1][0] / 100):
            raise BadInput(f"{self.name}={asked}: this model knows shares up to {most}")
        if found is None:
            least_said = f"at least {thresholds[0][0] / 100}" if thresholds else self.none
            raise BadInput(f"{self.name}={asked}: this model cannot promise {self.so_few}: {least_said}")
        return found


def _at_most(thresholds: Thresholds, share: float) -> tuple[float, float] | None:
    kept = [pair for pair in thresholds if pair[0] <= round(100 * share, 6)]
    return (kept[-1][0] / 100, kept[-1][1]) if kept else None
