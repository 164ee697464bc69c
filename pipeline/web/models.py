"""Which models and trainings can answer, and those that were asked last, ready in memory."""

import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from time import monotonic

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.common.errors import BadInput
from pipeline.common.names import safe_name
from pipeline.models.saved import BEFORE_REFIT, BEST_WEIGHTS
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.serving.calibrating import calibrated_on
from pipeline.serving.from_run import bundle_of, ingredients, kept_weights, known_of
from pipeline.tracking.finished import has_predictions, stored_predictions
from pipeline.tracking.registry import fetch_model
from pipeline.tracking.selection import CHOOSE_BY, FINISHED, find_run, search
from pipeline.web.refusal import Refused
from pipeline.web.settings import Settings
from pipeline.web.showing import Named, names

CHAMPION = "champion"
BEST = BEST_WEIGHTS.partition(".")[0]
_READY = 3  # models in memory
_FRESH = 2.0  # seconds that a list is good for
_TRIED = 5  # models, where the files of the first are gone
_RUNS = 50  # trainings that are listed, the newest
_VERSION = re.compile(r"(?:models:/+)?([\w\-. ]{1,250})(?:/(\d{1,9})|@([\w\-]{1,100}))")
_RUN = re.compile(r"(?:runs:/+)?([0-9a-f]{32})/?")


@dataclass(frozen=True)
class Choice:
    """A registered version, or a finished training. `address` is how it is asked for: `birds/3`, or a run's id."""

    address: str
    name: str
    aliases: tuple[str, ...]
    run_id: str | None
    made: int  # milliseconds since 1970
    val_accuracy: float | None = None
    version: ModelVersion | None = None


@dataclass(frozen=True)
class Ready:
    """A model that can answer, and of which of its kept epochs: `best`, `epoch_5`, ..."""

    choice: Choice
    checkpoint: str
    bundle: Bundle

    @cached_property
    def names(self) -> list[Named]:
        """What its classes are called."""
        return list(names(self.bundle.taxonomy, self.bundle.classes).values())

    @property
    def key(self) -> tuple[str, int, str]:
        """What is the same of a model that left memory and was read again; a name may be given again."""
        return self.choice.address, self.choice.made, self.checkpoint

    @property
    def name(self) -> str:
        """As answers name who gave them."""
        return self.choice.address + ("" if self.checkpoint == BEST else f" {self.checkpoint}")


class Models:
    """The store's models, for several threads. What is asked for is looked up in the store, never opened as a path."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._client = settings, MlflowClient()
        self._ready: OrderedDict[tuple[str, int, str], Ready] = OrderedDict()
        self._loading, self._listing = Lock(), Lock()
        self._listed: tuple[float, list[Choice]] = (-_FRESH, [])

    def choices(self) -> list[Choice]:
        """All registered versions, champions first, then the newest first; then the newest trainings."""
        with self._listing:
            at, found = self._listed
            if monotonic() - at > _FRESH:
                found = [*self._versions(), *self._runs()]
                self._listed = (monotonic(), found)
        return found

    def is_in_use(self, run_id: str) -> bool:
        """Whether a run's model is a champion now. Asked of the store: a list may be older than a promotion's end."""
        registered = self._client.search_registered_models(max_results=1000)
        champions = [(one.name, one.aliases[CHAMPION]) for one in registered if CHAMPION in one.aliases]
        return any(self._run_of(self._client.get_model_version(*one)) == run_id for one in champions)

    def first(self) -> Choice | None:
        """Who answers where nobody is named: who was named at the start, else the newest champion; None: nobody yet."""
        if self._settings.model is not None:
            return self.find(self._settings.model)
        found = self.choices()
        if self._settings.experiment is not None:
            own = safe_name(self._settings.experiment)
            found = [one for one in found if one.version is not None and one.version.name == own]
        return next(iter(found), None)

    def find(self, asked: str) -> Choice:
        """The model of an address: `NAME@ALIAS`, `NAME/3`, a run's id, also as `models:/...` and `runs:/...`.

        Refused where there is none.
        """
        with suppress(MlflowException, BadInput):
            if run := _RUN.fullmatch(asked):
                return _of_run(find_run(self._client, run[1]))
            if version := _VERSION.fullmatch(asked):
                name, number, alias = version.groups()
                if number is None:
                    number = str(self._client.get_model_version_by_alias(name, alias).version)
                return self._of_version(self._client.get_model_version(name, str(int(number))), self._aliases(name))
        raise Refused(404, f"there is no model {asked[:100]}; GET /api/models names those there are")

    def checkpoints(self, choice: Choice) -> list[str]:
        """Of which epochs its weights are kept, `best` first."""
        if choice.run_id is None:
            return [BEST]
        with suppress(BadInput, MlflowException):
            _, folders = ingredients(self._client, find_run(self._client, choice.run_id))
            kept = set(kept_weights(folders.values())) - {BEST, BEFORE_REFIT.partition(".")[0]}
            return [BEST, *sorted(kept, key=lambda name: (len(name), name))]
        return [BEST]

    def load(self, choice: Choice, checkpoint: str = BEST) -> Ready:
        """The model in memory, its networks read where they are not. Refused for weights that were not kept."""
        key = (choice.address, choice.made, checkpoint)
        with self._loading:
            if key not in self._ready:
                self._ready[key] = Ready(choice, checkpoint, self._read(choice, checkpoint))
            self._ready.move_to_end(key)
            while len(self._ready) > _READY:
                self._ready.popitem(last=False)
            return self._ready[key]

    def asked(self, address: str | None, checkpoint: str | None) -> Ready:
        """The model that a visitor or program named, or the first, in memory."""
        choice = self.find(address) if address else self.first()
        if choice is None:
            raise Refused(409, "there is no model yet: train one, and promote it")
        return self.load(choice, checkpoint or BEST)

    def at_hand(self) -> Ready | None:
        """The first that can answer, should the files of those before it be gone."""
        for choice in self.choices()[:_TRIED]:
            with suppress(Refused, BadInput, MlflowException):
                return self.load(choice)
        return None

    def _read(self, choice: Choice, checkpoint: str) -> Bundle:
        if choice.version is not None and checkpoint == BEST:
            return read_bundle(
                fetch_model(f"models:/{choice.version.name}/{choice.version.version}") / "artifacts/served"
            )
        if checkpoint not in self.checkpoints(choice) or choice.run_id is None:
            raise Refused(404, f"{choice.name} kept no weights {checkpoint[:100]}")
        run = find_run(self._client, choice.run_id)
        rule, folders = ingredients(self._client, run)
        made = bundle_of(rule, [folder / f"{checkpoint}.safetensors" for folder in folders.values()])
        if checkpoint != BEST or not has_predictions(run, "val"):  # other epochs left no answers
            return made
        val = stored_predictions(run, "val")
        calibration = calibrated_on(val, made.taxonomy)
        known = known_of(run, val.at_temperature(calibration.temperature))
        return replace(made, calibration=calibration, known=known)

    def _versions(self) -> list[Choice]:
        versions = self._client.search_model_versions(max_results=1000)
        aliases = {name: self._aliases(name) for name in {one.name for one in versions}}
        found = [self._of_version(one, aliases[one.name]) for one in versions]
        return sorted(found, key=lambda one: (CHAMPION not in one.aliases, -one.made))

    def _aliases(self, name: str) -> dict[str, str]:
        named: dict[str, str] = self._client.get_registered_model(name).aliases
        return named

    def _of_version(self, version: ModelVersion, named: dict[str, str]) -> Choice:
        aliases = tuple(sorted(alias for alias, number in named.items() if str(number) == str(version.version)))
        return Choice(
            f"{version.name}/{version.version}", f"{version.name} {version.version}", aliases,
            self._run_of(version), version.creation_timestamp or 0, version=version,
        )  # fmt: skip

    def _run_of(self, version: ModelVersion) -> str | None:
        if version.run_id:
            return str(version.run_id)
        with suppress(MlflowException):  # `promote` logs outside any run: the logged model says where it came from
            return self._client.get_logged_model(str(version.source).rpartition("/")[2]).source_run_id
        return None

    def _runs(self) -> list[Choice]:
        everywhere = [one.experiment_id for one in self._client.search_experiments()]
        found = search(self._client, everywhere, f"attributes.status = '{FINISHED}'", limit=4 * _RUNS)
        return [_of_run(run) for run in found if run.data.tags.get("stage") in ("train", "ensemble")][:_RUNS]


def _of_run(run: Run) -> Choice:
    network = run.data.tags.get("model") or run.data.tags.get("strategy", "")
    return Choice(
        run.info.run_id, f"{run.info.run_name} ({network})" if network else str(run.info.run_name), (),
        run.info.run_id, run.info.start_time, run.data.metrics.get(CHOOSE_BY),
    )  # fmt: skip
