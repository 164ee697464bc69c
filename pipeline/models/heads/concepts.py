"""Attributes first, the class from them alone: what is read of a picture is what its class follows from."""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear

from pipeline.data.rules import Rule
from pipeline.models.heads.fitted import Rooted, Tempered, best_temperature, usual_scale
from pipeline.models.heads.logistic import STRENGTHS, LogisticRegression, dealt_out
from pipeline.models.heads.punished import Punishment, fit_layer
from pipeline.models.heads.ridge import Ridge, told_by_others

log = logging.getLogger("pipeline.train")

_SHOWN = 0.5  # of a class's pictures
_DIRECT = 0.1  # of C, for the direct path: chosen on val of three splits of 100 birds
_LITTLE = 1e-4
_RARE = 0.01


class Concepts(Rooted, Tempered):
    """A concept bottleneck (Koh et al. 2020): features -> attributes, by ridge regression; -> class, logistic.

    Attributes are those of the classes, `signatures` (n_classes, attributes), of which NaN are not known: pictures of
    such a class teach nothing of them. All are brought to one spread, so that one that few classes have counts as much
    as others. The penalty of ridge, one for all, is chosen by cross-validation on train; and so is `C` of the layer of
    classes, from what is said of pictures left out, by the log loss at its best temperature, which val gives later.

    `residual` adds a direct path from what of the features the attributes do not say, fitted to what they leave wrong.
    `agreement` punishes reasons that contradict what is known of the class: so much times their share is added to a
    picture's loss. That is SHAP-Backprop (Diaz-Rodriguez et al. 2022, arXiv:2104.11914) for a linear layer, but added
    where they multiply: by its end most pictures have no loss left to multiply. On val that gave more for less.

    Where the backbone trains it is not `fitted` but learns with it: attributes are then the sigmoid of a linear layer,
    and what is minimised is the class's loss and `attribute_loss` times theirs (see `besides`).
    """

    weighs: ClassVar[bool] = True
    trains: ClassVar[bool] = True
    mean: torch.Tensor
    scale: torch.Tensor
    given: torch.Tensor
    known: torch.Tensor
    rules: torch.Tensor | None

    def __init__(
        self, n_features: int, n_classes: int, C: float | Literal["auto"] = "auto",  # noqa: N803 - scikit-learn's name
        attributes: Sequence[str] = (), residual: bool = False, agreement: float = 0.0,
        rules: bool | str | None = None, attribute_loss: float = 1.0, fitted: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inverse_penalty, self.agreement, self.attribute_loss, self.fitted = C, agreement, attribute_loss, fitted
        self._read: torch.Tensor | None = None  # before the sigmoid, of pictures that are being learnt from
        self._of_pictures: torch.Tensor | None = None
        self.attributes, width = tuple(attributes), len(attributes)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("given", torch.zeros(n_classes, width))
        self.register_buffer("known", torch.ones(n_classes, width, dtype=torch.bool))
        self.weight = nn.Parameter(torch.zeros(width, n_features), requires_grad=not fitted)
        self.bias = nn.Parameter(torch.zeros(width), requires_grad=not fitted)
        # At least one: to make a layer of none, PyTorch warns.
        self.species = LogisticRegression(max(width, 1), n_classes, 1.0 if C == "auto" else C)
        self.beside = nn.Linear(n_features, n_classes) if residual else None
        self.register_buffer("rules", torch.zeros(0, len(Rule._fields)) if rules else None)

    @property
    def signatures(self) -> torch.Tensor:
        """(n_classes, attributes) shares of the classes' pictures that show each; NaN where that is not known."""
        return self.given.where(self.known, torch.nan)

    @property
    def ends(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(attributes,) the least and the most that any class shows of each."""
        return self.given.where(self.known, 1.0).amin(0), self.given.where(self.known, 0.0).amax(0)

    @property
    def knowledge(self) -> torch.Tensor:
        """(n_classes, attributes): 1 where at least half of a class's pictures show it, -1 where fewer, 0: unknown."""
        return torch.where(self.given >= _SHOWN, 1.0, -1.0) * self.known

    def forward(self, features: torch.Tensor, by_hand: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (n, n_classes); shares of attributes that were set `by_hand` (n, attributes), NaN for none, stand."""
        if by_hand is None:
            return super().forward(features)
        with torch.autocast(features.device.type, enabled=False):
            return self.of_concepts(self.concepts(features.float(), by_hand), self.direct(features.float()))

    def concepts(self, features: torch.Tensor, by_hand: torch.Tensor | None = None) -> torch.Tensor:
        """(n, n_features) -> (n, attributes): standardised, 0 being as usual among training pictures.

        What is set `by_hand` (n, attributes), a share or NaN, takes the place of what is read: a plain yes as the
        largest share that any class has, a no as the smallest, as the classes were learnt by those.
        """
        read = linear(self.spread(features), self.weight, self.bias)
        if not self.fitted:
            self._read = read if self.training else None
            read = self.standardised(read.sigmoid())
        if by_hand is None:
            return read
        return torch.where(by_hand.isnan(), read, self.standardised(by_hand.clamp(*self.ends)))

    def shares(self, concepts: torch.Tensor) -> torch.Tensor:
        """Standardised attributes (n, attributes) as the shares that the table of classes has, 0 to 1."""
        return (concepts * self.scale + self.mean).clamp(0, 1)

    def standardised(self, shares: torch.Tensor) -> torch.Tensor:
        """The inverse of `shares`, where nothing was cut off."""
        return (shares - self.mean) / self.scale

    def direct(self, features: torch.Tensor) -> torch.Tensor:
        """(n, n_classes) what the direct path adds, before the temperature: nothing where there is none."""
        if self.beside is None:
            return features.new_zeros(len(features), len(self.given))
        return linear(self.spread(features), self.beside.weight, self.beside.bias)

    def of_concepts(self, concepts: torch.Tensor, direct: torch.Tensor | float = 0.0) -> torch.Tensor:
        """Standardised attributes (n, attributes), some of them put right perhaps, -> logits (n, n_classes).

        A class loses what the rules that it breaks take, but not while it learns by gradient.
        """
        logits = (self.species.logits(concepts) + direct) / self.temperature
        if self.rules is None or (self.training and not self.fitted):
            return logits
        taken = self.broken(concepts) * self.rules[:, 4]
        return logits - torch.zeros_like(logits).index_add(1, self.rules[:, 0].long(), taken.to(logits.dtype))

    def broken(self, concepts: torch.Tensor) -> torch.Tensor:
        """(n, m) bool: which of the rules (see `Rule`; m) pictures break.

        What is always shown has to be read as nearer to its usual share than to the least of any class; what never is,
        nearer than to the most. On val of 100 birds 1,119 rules that were so of at least nine of ten of a class's
        pictures overruled one of 900 answers by that, and 13 by half of that way.
        """
        assert self.rules is not None
        _, place, sign, share, _ = self.rules.T
        place, at_least, plain = place.long(), sign > 0, share < 0
        # Less than none is none to whoever reads it, and breaks no "at least 0".
        shown = concepts.clamp(*map(self.standardised, (torch.zeros_like(self.mean), torch.ones_like(self.mean))))
        here, (least, most) = shown[:, place], (self.standardised(end)[place] / 2 for end in self.ends)
        named = (share - self.mean[place]) / self.scale[place]
        below = torch.where(plain, here <= least, here < named)
        return torch.where(at_least, below, torch.where(plain, here >= most, here > named))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}rules")
        if stored is not None and stored.dtype == torch.int8:  # earlier versions: 1 always, -1 never, of each pair
            made = [Rule(code, place, int(stored[code, place])) for code, place in stored.nonzero().tolist()]
            state_dict[f"{prefix}rules"] = torch.tensor(made).reshape(-1, len(Rule._fields))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.of_concepts(self.concepts(features), self.direct(features))

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        return self.species.logits(self.concepts(features)) + self.direct(features)

    def contributions(self, concepts: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What each attribute adds (n, attributes) to the logit of a class (n,) of a picture, and what it has without.

        They add up to the logit, but for what a direct path adds. Attributes being measured from their mean, these are
        SHAP values of a linear layer (Lundberg and Lee 2017), had attributes nothing to do with each other.
        """
        layer = self.species.linear
        return concepts * layer.weight[classes] / self.temperature, layer.bias[classes] / self.temperature

    def decided_directly(self, concepts: torch.Tensor, direct: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n,) the share that what the direct path adds (n, n_classes) has in what sets the answer apart from the next
        one, and (n,) whether without it the answer is another.
        """
        by_attributes = self.species.logits(concepts)
        first = (by_attributes + direct).topk(2, dim=1).indices
        ahead, own = (one.gather(1, first).diff(dim=1).abs()[:, 0] for one in (by_attributes, direct))
        return own / (ahead + own).clamp(min=_LITTLE), by_attributes.argmax(1) != first[:, 0]

    def ask_first(self, concepts: torch.Tensor, direct: torch.Tensor | float = 0.0) -> torch.Tensor:
        """(n, attributes): how much there is to learn from each attribute of a picture, whoever it may be of.

        The variance of its share among the classes, each as likely as the answer says, beside its spread among all
        pictures: what all likely classes share tells none of them from the others. Chosen on val, where people who
        say yes or no made more answers right by it than by the expected gain of certainty, which asks for what
        confirms a wrong answer, and than by the variance of standardised attributes, which asks for rare ones.
        """
        likely = self.of_concepts(concepts, direct).softmax(1)
        known = self.standardised(self.signatures).nan_to_num(0.0)
        return (likely @ known.square() - (likely @ known).square()) * self.scale

    def meet_attributes(
        self, signatures: pd.DataFrame, of_pictures: pd.DataFrame | None = None, rules: Sequence[Rule] = ()
    ) -> None:
        """Told, before any work, the attributes of the classes, a row a class in their order; or `of_pictures`, a row
        for each of the numbers by which `fit` tells pictures apart, which are then what it learns from.
        """
        if self.rules is not None:
            self.rules = torch.tensor(rules, dtype=torch.float32).reshape(-1, len(Rule._fields))
        self._of_pictures = None if of_pictures is None else torch.tensor(of_pictures.to_numpy(np.float32))
        shares = torch.tensor(signatures.to_numpy(np.float32))
        self.given.copy_(shares.nan_to_num(0.0))
        self.known.copy_(~shares.isnan())

    @torch.no_grad()
    def begin(self, labels: torch.Tensor, pictures: torch.Tensor) -> None:
        """Before it learns by gradient from pictures with `labels` (n,), told apart by `pictures` (n,) as in `fit`.

        It begins by reading in each picture what is usual among them.
        """
        self._targets(labels, pictures, np.ones(len(labels)))
        self.bias.copy_(self.mean.clamp(_RARE, 1 - _RARE).logit())
        nn.init.normal_(self.weight, std=_RARE)

    def besides(self, labels: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """What is minimised beside the class's loss, of the pictures (n,) with `labels` (n,) that it has just seen.

        The cross-entropy of their attributes, the mean of those that are known, times how many there are, each weighed
        by the inverse of its spread, so that rare ones count too; and reasons that contradict what is known, where they
        are punished. If it counted much less, the class's loss would make of what is read a code of its own: of 20
        birds the mean AUC of attributes was 0.97, 0.88 at a tenth and chance at a hundredth, the accuracy as high.
        """
        assert self._read is not None
        read, self._read = self._read, None
        shown = self._shown(labels, pictures).to(read.device).repeat(len(read) // len(labels), 1)
        known, worth = ~shown.isnan(), 1 / self.scale
        each = binary_cross_entropy_with_logits(read, shown.nan_to_num(0.0), reduction="none")
        losses = (each * known * worth / worth.mean()).sum() / known.float().mean().clamp(min=_LITTLE) / len(read)
        if not self.agreement:
            return self.attribute_loss * losses
        of, concepts = labels.repeat(len(read) // len(labels)), self.standardised(read.detach().sigmoid())
        return self.attribute_loss * losses + self._contradicting(concepts, of)(self.species.linear.weight).mean()

    def _shown(self, labels: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """(n, attributes) shares of what pictures with `labels` (n,) show, NaN where that is not known."""
        if self._of_pictures is None:
            return self.signatures[labels]
        return self._of_pictures[pictures]

    def _targets(self, labels: torch.Tensor, pictures: torch.Tensor, counts: np.ndarray) -> np.ndarray:
        """What `_shown` says, with mean 0 and spread 1 among pictures that count so much (n,), as it is from now on."""
        given = self._shown(labels, pictures).numpy()
        known = ~np.isnan(given)
        total = np.maximum((known * counts[:, None]).sum(0), 1e-9)
        centre = np.where(known, given, 0).T @ counts / total
        apart = np.where(known, given - centre, 0)
        spans = np.sqrt(apart.T**2 @ counts / total)
        spans[spans < 1e-6] = 1.0  # the same of all classes that have pictures
        self.mean.copy_(torch.from_numpy(centre))
        self.scale.copy_(torch.from_numpy(spans))
        return np.where(known, apart / spans, np.nan).astype(np.float32)

    @torch.no_grad()
    def fit(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        spread = self.spread_to_fit(features)
        mean, size = (found.numpy() for found in usual_scale(spread, self.joined))
        values = ((spread.numpy() - mean) / size).astype(np.float32)
        counts = np.ones(len(labels)) if weights is None else weights.numpy().astype(np.float64)
        own = np.arange(len(labels)) if pictures is None else pictures.numpy()
        targets = self._targets(labels, torch.from_numpy(own), counts)
        known, targets = ~np.isnan(targets), np.nan_to_num(targets)
        _, first, owner = np.unique(own, return_index=True, return_inverse=True)
        fold = dealt_out(labels.numpy()[first])[owner]
        left_out, penalty = told_by_others(values, targets, known, counts, fold)
        weight, bias = Ridge(values, targets, known, counts).at(penalty * len(labels))
        weight = weight.T / size
        self.weight.copy_(torch.from_numpy(weight))
        self.bias.copy_(torch.from_numpy(bias - weight @ mean))
        if self.inverse_penalty == "auto":
            self.species.inverse_penalty = self._strength(torch.from_numpy(left_out), labels, weights, fold)
        concepts, count = self.concepts(features), torch.from_numpy(counts).float()
        self.species.fit(concepts, labels, weights=weights, pictures=pictures)
        layer, strength = self.species.linear, self.species.inverse_penalty
        assert strength != "auto"
        if self.agreement:
            layer.weight.data, layer.bias.data = fit_layer(
                concepts, labels, count, strength, layer.weight.data, punishment=self._contradicting(concepts, labels)
            )
        if self.beside is not None:
            rest, away = self._beyond(self.spread(features))
            beside, shift = fit_layer(
                rest, labels, count, _DIRECT * strength, torch.zeros_like(self.beside.weight),
                beside=self.species.logits(concepts),
            )  # fmt: skip
            self.beside.weight.data, self.beside.bias.data = beside @ away, shift

    def _contradicting(self, concepts: torch.Tensor, labels: torch.Tensor) -> Punishment:
        """What a picture's loss is more by: the share of reasons for its class, by size, that contradict knowledge."""
        known = self.knowledge[labels]
        size = concepts.abs() * known.abs()

        def share(weight: torch.Tensor) -> torch.Tensor:
            own = weight[labels]
            against = (torch.relu(-known * own) * size).sum(1)
            return self.agreement * against / ((own.abs() * size).sum(1) + _LITTLE)

        return share

    def _beyond(self, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What of features (n, n_features) the attributes do not say, and the projection that takes it from them."""
        _, sizes, directions = torch.linalg.svd(self.weight, full_matrices=False)
        said = directions[sizes > _LITTLE * sizes.max()]
        away = torch.eye(spread.shape[1]) - said.T @ said
        return spread @ away, away

    def _strength(
        self, said: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None, fold: np.ndarray
    ) -> float:
        losses = []
        for strength in STRENGTHS:
            logits = torch.zeros(len(labels), len(self.given))
            for number in np.unique(fold):
                here = torch.from_numpy(fold == number)
                if here.all():
                    continue
                layer = LogisticRegression(said.shape[1], logits.shape[1], strength)
                layer.tried = True  # as roughly as will do to choose by
                layer.fit(said[~here], labels[~here], weights=None if weights is None else weights[~here])
                logits[here] = layer.logits(said[here])
            losses.append(float(cross_entropy(logits / best_temperature(logits, labels), labels)))
            if len(losses) - 1 - int(np.argmin(losses)) >= 2:
                break
        best = int(np.argmin(losses))
        log.info("head.C=%.3g was chosen, by cross-validation on train: log loss %.3f", STRENGTHS[best], losses[best])
        return STRENGTHS[best]
