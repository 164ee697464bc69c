"""The nearest training pictures."""

import logging

import torch
from torch.nn.functional import normalize

from pipeline.models.heads.fitted import Rooted, Tempered

log = logging.getLogger("pipeline.train")


class Neighbours(Rooted, Tempered):
    """The k training pictures nearest by cosine vote, each with exp(cosine / 0.07): Wu et al. 2018, InstDisc.

    `k` is a number, or `auto`: the one of 1, 3, 5, 10, ... 200 by which most training pictures are told from the
    others. Features (of a ReLU their square roots) lose the training pictures' mean first. All training pictures are
    kept, as float16.
    """

    center: torch.Tensor
    pictures: torch.Tensor
    labels: torch.Tensor
    count: torch.Tensor

    def __init__(self, n_features: int, n_classes: int, k: int | str = "auto") -> None:
        super().__init__()
        self.k, self.n_classes = k, n_classes
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("pictures", torch.zeros(0, n_features, dtype=torch.float16))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        cosine, nearest = self._cosines(self.spread(features)).topk(int(self.count))
        return self._votes(cosine, self.labels[nearest])

    @torch.no_grad()
    def fit(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        features = self.spread_to_fit(features)
        self.center.copy_(features.mean(0))
        self.pictures, self.labels = normalize(features - self.center).half(), labels.clone()
        if self.k == "auto":
            own = torch.arange(len(labels)) if pictures is None else pictures
            self.count.fill_(self._best_count(features, own))
            log.info("head.k=%d was chosen: each training picture told from the others", int(self.count))
        else:
            self.count.fill_(min(int(self.k), len(labels)))

    def _best_count(self, features: torch.Tensor, pictures: torch.Tensor) -> int:
        """Of two as good the smaller. A picture, and what is of the same, has no vote on itself."""
        tried = [count for count in _COUNTS if count < len(self.labels)] or [1]
        right = torch.zeros(len(tried))
        for some in torch.split(torch.arange(len(features)), _CHUNK):
            cosine = self._cosines(features[some]).masked_fill(pictures[some, None] == pictures, -torch.inf)
            cosine, nearest = cosine.topk(tried[-1])
            voters = self.labels[nearest]
            for number, count in enumerate(tried):
                right[number] += (
                    self._votes(cosine[:, :count], voters[:, :count]).argmax(1) == self.labels[some]
                ).sum()
        return tried[int(right.argmax())]

    def _cosines(self, features: torch.Tensor) -> torch.Tensor:
        return normalize(features - self.center) @ self.pictures.to(features.dtype).T

    def _votes(self, cosine: torch.Tensor, voters: torch.Tensor) -> torch.Tensor:
        """Logarithms of the votes; of classes without any, of less than the least that one voter has."""
        votes = cosine.new_full((len(cosine), self.n_classes), _NO_VOTE)
        return votes.scatter_add(1, voters, (cosine / _SHARPNESS).exp()).log()


_COUNTS = (1, 3, 5, 10, 20, 50, 100, 200)
_SHARPNESS = 0.07
_NO_VOTE = 1e-7  # a cosine of -1 votes with 6e-7
_CHUNK = 1024
