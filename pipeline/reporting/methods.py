"""The methods of a study in words, with the source of each setting and the works that it cites (as `[@key]`)."""

import re
from collections.abc import Iterator, Mapping

from pipeline.common.wording import counted, duration, number, percent
from pipeline.comparison.choices import short_value
from pipeline.comparison.group import Group
from pipeline.comparison.settings import Setting, settings
from pipeline.models.heads.fitted import FittedHead
from pipeline.models.heads.registry import HEADS
from pipeline.models.pretraining import known_overlap, networks_of
from pipeline.models.shelf import shelf
from pipeline.reporting.references import of_preprint

Tags = Mapping[str, str]

_SETS = {"cub200": "wah2011cub", "inat2021": "vanhorn2021benchmarking"}
_FIT = {
    "squash": "the whole picture, its sides rescaled", "crop": "its middle", "pad": "the whole picture, with a border",
}  # fmt: skip
_REGIMES = {
    "head": "The networks' weights stayed as they were published; only a classifier, the head, was trained on what the "
    "networks say of a picture, its features",
    "all": "All weights were trained",
}
_NORMALISED = {
    "weights": "as those were that the weights were trained on", "imagenet": "by ImageNet's mean and deviation",
    "none": "to values of 0 to 1",
}  # fmt: skip
_HEADS = {
    "linear": "one linear layer",
    "mlp": "hidden layers and a linear one",
    "flatten": "one linear layer on the whole feature map",
    "logistic": "L2-regularised logistic regression on standardised features [@pedregosa2011scikit]",
    "prototype": "the nearest class mean by cosine [@wang2019simpleshot]",
    "knn": "the nearest training pictures by cosine",
    "sklearn": "a classifier of scikit-learn [@pedregosa2011scikit]",
    "concepts": "attributes first, and the class from these [@koh2020concept]",
    "pretrained": "the network's own classifier",
    "text": "the classes' names as texts",
}
_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam [@kingma2015adam]", "adamw": "AdamW [@loshchilov2019decoupled]"}
_LOSSES = {
    "cross_entropy": "cross-entropy", "weighted": "cross-entropy weighted by how rare a class is",
    "focal": "the focal loss [@lin2017focal]",
}  # fmt: skip
_SCHEDULERS = {"cosine": "a cosine schedule [@loshchilov2017sgdr]", "constant": "a constant learning rate"}
_AUGMENTATIONS = {"trivial": "TrivialAugment [@mueller2021trivialaugment]", "none": "no augmentation"}
_LIBRARIES = {
    "torch": ("PyTorch", "paszke2019pytorch"), "torchvision": ("torchvision", "torchvision2016"),
    "timm": ("timm", "wightman2019timm"), "scikit-learn": ("scikit-learn", "pedregosa2011scikit"),
    "mlflow": ("MLflow", "zaharia2018accelerating"),
}  # fmt: skip
_SOURCES = (
    "In brackets after a setting stands where it comes from: *stated* by whoever ran the study, *ours*, which is the "
    "program's own default, or *the library's default*."
)
_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


class Methods:
    """What is said of a group's runs; `tags` are theirs, by id."""

    def __init__(self, group: Group, tags: Mapping[str, Tags]) -> None:
        self.group, self.tags = group, [tags[one.id] for one in group.entrants]
        self.settings = settings(group.entrants)
        self._by_key = {one.key: one for one in self.settings}
        self.params = [one.choices for one in group.entrants]

    def text(self, looks: int) -> str:
        """Paragraphs under their headings, as Markdown."""
        parts = {
            "Pictures": self._pictures(), "Networks": self._networks(), "Training": self._training(),
            "Evaluation": self._evaluation(looks), "Computation": self._computation(),
        }  # fmt: skip
        texts = [f"### {title}\n\n{' '.join(filter(None, sentences))}" for title, sentences in parts.items()]
        return "\n\n".join([_SOURCES, *texts])

    def _said(self, key: str, values: str = "") -> str:
        """A setting's answers and its source, in brackets."""
        found = self._by_key.get(key)
        return f"{values or found.said} ({found.source})" if found else values

    def _values(self, key: str) -> tuple[str, ...]:
        found: Setting | None = self._by_key.get(key)
        return found.values if found else ()

    def _pictures(self) -> Iterator[str]:
        group, first = self.group, self.group.entrants[0]
        names = ", ".join(self._values("data.name")) or "pictures"
        sources = {one.get("data.source", "") for one in self.params}
        cite = "; ".join(f"@{_SETS[one]}" for one in sorted(sources & {*_SETS}))
        yield f"The data set {names}{f' [{cite}]' if cite else ''} has {counted(group.baseline['classes'], 'class')}."
        trained = sorted({one.trained_on for one in group.entrants if one.trained_on})
        sizes = [f"{' or '.join(f'{n:,}' for n in trained)} pictures were used for training" if trained else ""]
        sizes += [f"{len(score.labels):,} for {said}" for split, said in (
            ("val", "validation (val), on which everything was chosen"), ("test", "the final test")
        ) if (score := first.on(split))]  # fmt: skip
        yield ", ".join(one for one in sizes if one) + "."
        if found := self._values("data.split.seed"):
            seeds = "seed" if len(found) == 1 else "seeds"
            yield (
                f"The published test part was kept; {self._share('val')} of each class's other pictures were drawn "
                f"at random for val, with the {seeds} {self._said('data.split.seed')}."
                if sources == {"cub200"}
                else "Where the set brings no split of its own, pictures were drawn at random within each class: "
                f"{self._share('val')} for val and {self._share('test')} for test, with the {seeds} "
                f"{self._said('data.split.seed')}."
            )
        if together := self._values("data.split.group"):
            source = self._source("data.split.group")
            yield f"Pictures with the same {', '.join(together)} were never on two sides ({source})."
        if self._values("data.image_size"):
            fits = " or ".join(_FIT.get(one, one) for one in self._values("data.fit"))
            norms = " or ".join(_NORMALISED.get(one, one) for one in self._values("data.normalise"))
            yield (
                f"Each was shown to the networks at {self._said('data.image_size')} pixels a side ({fits}; "
                f"{self._source('data.fit')}), normalised {norms} ({self._source('data.normalise')})."
            )
        columns = [short_value("data.metadata", one) for one in self._values("data.metadata")]
        if beside := [one for one in columns if one != "none"]:
            who = "The network" if beside == columns else "In some runs the network"
            source = self._source("data.metadata")
            yield f"{who} was given columns beside the picture: {'; or '.join(beside)} ({source})."
        licences = sorted({one.get("data.licence", "None") for one in self.params} - {"None"})
        if licences:
            yield f"Their licence: {', '.join(licences)}."
        else:
            yield "Under which licence they are was not said."

    def _share(self, split: str) -> str:
        key = f"data.split.{split}"
        return self._said(key, ", ".join(percent(float(one), 0) for one in self._values(key)))

    def _source(self, key: str) -> str:
        return self._by_key[key].source if key in self._by_key else ""

    def _networks(self) -> Iterator[str]:
        known = {one.name: one for params in self.params for one in networks_of(params)}
        architectures = {one.name: one.what for one in shelf()}
        sizes = {one.choices.get("model.name", ""): one.cost.get("parameters") for one in self.group.entrants}
        said = []
        for name, parameters in sizes.items():
            of, what = known.get(name), architectures.get(name, "")
            title = re.sub(r" \([^)]*\)$", "", what) if of and what else short_value("model.name", name)
            works = of_preprint(what)
            facts = [f"{number(parameters)} parameters" if parameters else ""]
            facts.append(f"weights {of.said.get('source', of.weights)}" if of else "")
            seen = of.said.get("seen ImageNet", "") if of else ""
            facts.append(f"had seen ImageNet [@russakovsky2015imagenet]: {seen}" if seen else "")
            cite = f" [{'; '.join(f'@{one}' for one in works)}]" if works else ""
            said.append(f"{title}{cite} ({', '.join(one for one in facts if one)})")
        number_of = _NUMBERS[len(said)] if len(said) < len(_NUMBERS) else f"Together {len(said)}"
        many = "One network was trained" if len(said) == 1 else f"{number_of} networks were compared"
        yield f"{many} ({self._source('model.name')}): {'; '.join(said)}."
        if any(one.get("regime.weights") == "none" for one in self.params):
            yield "Where `regime` is `scratch`, weights began at random."
        if files := self._values("model.weights_file"):
            names = ", ".join(short_value("model.weights_file", one) for one in files)
            yield f"Weights came from files of the user's own: {names}."
        if known:
            overlap = " ".join(sorted({known_overlap(one.get("data.source", "")) for one in self.params} - {""}))
            yield (
                "Such weights may have seen test pictures of public sets before, which flatters figures on test; "
                f"whether they had was not checked here. {overlap}"
            ).rstrip()

    def _training(self) -> Iterator[str]:
        trains = self._values("regime.trains")
        ways = [
            _REGIMES.get(one, f"The head and the last {one.partition(':')[2]} blocks were trained") for one in trains
        ]
        heads = self._values("head.name")
        said, source = "; ".join(_HEADS.get(one, one) for one in heads), self._source("head.name")
        yield f"{'; '.join(ways)}: the regime {self._said('regime.name')}."
        yield f"The head was {said} ({source})." if len(heads) == 1 else f"Heads were compared ({source}): {said}."
        if strength := self._values("head.C"):
            auto = "chosen by cross-validation on the training pictures" if "auto" in strength else ", ".join(strength)
            yield f"Its inverse strength of regularisation C was {auto} ({self._source('head.C')})."
        if self._values("optimizer.name"):
            yield from self._by_gradient()
        if self._values("augmentation.name"):
            names = " or ".join(_AUGMENTATIONS.get(one, f"`{one}`") for one in self._values("augmentation.name"))
            yield f"Training pictures were augmented by {names} ({self._source('augmentation.name')})."
        if self._values("seed"):
            yield f"What is left to chance beside the split had the seed {self._said('seed')}."
        yield "Table S1 lists every setting."

    def _by_gradient(self) -> Iterator[str]:
        def named(key: str, words: Mapping[str, str]) -> str:
            return " or ".join(words.get(one, one) for one in self._values(key)) + f" ({self._source(key)})"

        learnt = [one for one in self._values("head.name") if not _at_once(one)]
        fitted = [one for one in self._values("head.name") if _at_once(one)]
        what = f"Heads that are learnt step by step ({', '.join(learnt)})" if learnt and fitted else "Weights"
        yield (
            f"{what} were fitted by {named('optimizer.name', _OPTIMIZERS)} with a learning rate of "
            f"{self._said('optimizer.lr')} and a weight decay of {self._said('optimizer.weight_decay')}, in batches of "
            f"{self._said('trainer.batch_size')} pictures for {self._said('trainer.epochs')} epochs, with "
            f"{named('scheduler.name', _SCHEDULERS)}, to minimise {named('loss.name', _LOSSES)}."
        )
        yield "The weights of the epoch with the highest val accuracy were kept."
        if few := self._values("trainer.limit_batches"):
            yield f"It is a trial: each epoch ended after so many batches (`trainer.limit_batches`): {', '.join(few)}."

    def _evaluation(self, looks: int) -> Iterator[str]:
        group, table = self.group, self.group.ranking.table
        yield (
            "Everything was chosen by val; test was scored once by each run, with the weights that val chose."
            if group.has_test else "Everything was chosen, and is reported, on val: there was no test part."
        )  # fmt: skip
        if bool((table["splits"] > 1).any()):
            yield (
                "Figures are means over splits; their 95 % intervals and the tests between settings are those of the "
                "corrected resampled t-test [@nadeau2003inference]"
                + ("; test is the same in all splits, and its accuracies have Wilson's intervals over pictures "
                   "[@wilson1927probable]." if has_one_test(group) else ".")
            )  # fmt: skip
        else:
            yield (
                "Accuracies have Wilson's 95 % intervals over pictures [@wilson1927probable]"
                + ("; seeds of one setting were averaged, and their standard deviation (sd) is given." if
                   bool((table["n"] > 1).any()) else ".")
            )  # fmt: skip
        if len(table) > 1:
            test = "McNemar's test [@mcnemar1947note]" if group.test_name == "McNemar" else "that test"
            yield (
                f"The {len(group.leaders)} best settings were held against each other in pairs by {test}, the p-values "
                "corrected for their number [@holm1979simple]."
            )
        if looks > 1:
            yield f"The figures of test were looked at up to {looks} times after training, this report among them."

    def _computation(self) -> Iterator[str]:
        def those(name: str) -> list[str]:
            return sorted({one[name] for one in self.tags if name in one})

        versions = [
            f"{said} {' and '.join(found)} [@{work}]"
            for name, (said, work) in _LIBRARIES.items() if (found := those(f"version.{name}"))
        ]  # fmt: skip
        if versions:
            python = " and ".join(those("version.python"))
            yield f"Runs used {', '.join(versions)} and Hydra [@yadan2019hydra], under Python {python}."
        device, system, threads, precision = (
            " and ".join(those(f"machine.{name}")) for name in ("device_name", "system", "threads", "precision")
        )
        if device:
            yield f"They ran on {device} ({system}; threads: {threads}; precision: {precision})."
        took = sum(one.cost.get("minutes", 0.0) for one in self.group.entrants)
        yield f"The {counted(len(self.group.entrants), 'run')} took {duration(took)} in all."
        if commits := those("git_sha"):
            yield f"Commit of the program: {', '.join(f'`{one[:12]}{one[40:]}`' for one in commits)}."
        if data := sorted({one.data for one in self.group.entrants if one.data}):
            yield f"Digest of the pictures: {', '.join(f'`{one}`' for one in data)}."


def has_one_test(group: Group) -> bool:
    """Whether all splits have the same test pictures, so that its intervals are over pictures."""
    return group.has_test and len(group.ranking.rows[0].by_pictures("test")) == 1


def fitted_at_once(group: Group) -> bool:
    """Whether no run has curves, as every head was fitted at once."""
    return all(_at_once(one.choices.get("head.name", "")) for one in group.entrants)


def _at_once(head: str) -> bool:
    found = HEADS.get(head)
    return found is not None and issubclass(found, FittedHead)
