"""scikit-learn's classifiers as heads, from a closed list, kept without pickle."""

import inspect
import logging
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import torch

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.models.heads.fitted import Tempered, usual_scale

# By name, with the module of scikit-learn that has it.
ESTIMATORS = {
    "AdaBoostClassifier": "ensemble",
    "DecisionTreeClassifier": "tree",
    "ExtraTreesClassifier": "ensemble",
    "GaussianNB": "naive_bayes",
    "HistGradientBoostingClassifier": "ensemble",
    "LinearDiscriminantAnalysis": "discriminant_analysis",
    "LinearSVC": "svm",
    "MLPClassifier": "neural_network",
    "RandomForestClassifier": "ensemble",
    "RidgeClassifier": "linear_model",
    "SVC": "svm",
}
# Beyond what skops trusts by itself: what these classifiers are made of, plain numbers all of it.
_TRUSTED = [
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
]
_OURS = ("decision_function_shape", "verbose", "warm_start")  # parameters that would change what is read of them

log = logging.getLogger("pipeline.train")


class Estimator(Tempered):
    """A classifier of `ESTIMATORS` on standardised features, with `options` for its constructor.

    Where it has no probabilities its decision values stand in, sharpened or softened by val. What it finds impossible,
    a class without pictures too, is as likely as one picture in all. It is stored as skops writes it.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    least: torch.Tensor
    stored: torch.Tensor

    def __init__(
        self, n_features: int, n_classes: int, estimator: str = "RandomForestClassifier",
        options: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_classes = n_classes
        self.estimator = build_estimator(estimator, options or {})
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("least", torch.ones(()))
        self.register_buffer("stored", torch.zeros(0, dtype=torch.uint8))

    @property
    def weighs(self) -> bool:  # type: ignore[override]  # it hangs on the estimator; of other heads it is the class's
        return "sample_weight" in inspect.signature(self.estimator.fit).parameters

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        values, known = self._standardised(features), self.estimator.classes_
        if self._has_probabilities():
            found = np.log(self.estimator.predict_proba(values).clip(float(self.least)))
            missing = np.log(self.least.cpu().numpy())
        else:
            found = self.estimator.decision_function(values)
            if found.ndim == 1:  # one number, for the second class and against the first
                found = np.stack([-found, found], axis=1) / 2
            missing = found.min() - 1
        every = np.full((len(found), self.n_classes), missing, np.float32)
        every[:, known] = found
        return torch.from_numpy(every).to(features.device)

    def fit(
        self, features: torch.Tensor, labels: torch.Tensor, *, weights: torch.Tensor | None = None,
        pictures: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        mean, scale = usual_scale(features, self.joined)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.least.fill_(1 / max(len(labels), 2))
        import skops.io as skops  # only who fits such a head, or reads one, needs it

        how = {} if weights is None else {"sample_weight": weights.numpy()}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            self.estimator.fit(self._standardised(features), labels.numpy(), **how)
        if said:
            log.warning("warning: head.estimator: %s", str(said[0].message).splitlines()[0])
        self.stored = torch.frombuffer(
            bytearray(skops.dumps(self.estimator, compression=ZIP_DEFLATED)), dtype=torch.uint8
        )

    def calibrate(self, features: torch.Tensor, labels: torch.Tensor) -> None:
        if not self._has_probabilities():
            super().calibrate(features, labels)

    def _has_probabilities(self) -> bool:
        return hasattr(self.estimator, "predict_proba")

    def _standardised(self, features: torch.Tensor) -> np.ndarray:
        return ((features - self.mean) / self.scale).detach().cpu().numpy()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        stored = state_dict.get(f"{prefix}stored")
        if stored is not None and len(stored):
            import skops.io as skops

            try:
                self.estimator = skops.loads(stored.cpu().numpy().tobytes(), trusted=_TRUSTED)
            except Exception as error:  # of many families: what is damaged, or holds what is not trusted
                reason = str(error).splitlines()[0]
                raise BadInput(
                    f"head=sklearn: the stored estimator cannot be read ({reason}): train it again"
                ) from None


def build_estimator(name: str, options: Mapping[str, Any]) -> Any:
    """The classifier, not fitted yet. BadInput for one not on the list, or options that it does not take."""
    if name not in ESTIMATORS:
        raise BadInput(f"head.estimator={name}: no such estimator{did_you_mean(name, ESTIMATORS)}")
    kind = getattr(import_module(f"sklearn.{ESTIMATORS[name]}"), name)
    known = [option for option in inspect.signature(kind).parameters if option not in _OURS]
    for option in options:
        if option not in known:
            raise BadInput(f"head.options.{option}: {name} takes no such option{did_you_mean(option, known)}")
    # Chance follows the run's seed, which the network was made from.
    chance = {"random_state": torch.initial_seed() % 2**32} if "random_state" in known else {}
    made = kind(**(chance | dict(options)))
    try:
        made._validate_params()
    except ValueError as error:
        raise BadInput(f"head.options: {str(error).splitlines()[0]}") from None
    return made
