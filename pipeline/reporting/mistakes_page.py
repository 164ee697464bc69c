"""The photographs behind the figures: what a network got wrong, and what it nearly did, as one page."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from pipeline.common.wording import counted, percent
from pipeline.evaluation.mistakes import ConfusedPair, confident_errors, confused_pairs, doubtful_hits, worst_of_class
from pipeline.evaluation.statistics import interval_of_share
from pipeline.predictions.predictions import Predictions
from pipeline.reporting import page
from pipeline.reporting.page import Figure, Section
from pipeline.reporting.shown_paths import shown_below

FILE = "mistakes.html"  # among a run's artifacts
_ERRORS, _HITS, _PAIRS, _EACH = 24, 12, 8, 3  # pictures, pictures, pairs, pictures on each side of a pair
_CLASSES, _OF_CLASS = 100, 4

HEAT = (
    "Beside each picture it stands as the network read it; yellow is where most of the evidence for the answer lies "
    "(Grad-CAM)."
)

Thumbnails = Callable[[list[str]], dict[str, bytes]]
# Of answers by their place, small JPEGs of where the network looked for them.
Looks = Callable[[np.ndarray], dict[int, bytes]]


@dataclass
class _Album:
    """Pictures by their path, each opened once; a path without a picture is gone, changed or unreadable now."""

    predictions: Predictions
    jpegs: dict[str, bytes]
    looks: dict[int, bytes]

    def __post_init__(self) -> None:
        self._shown = shown_below(map(str, self.predictions.ids))

    def show(self, places: Iterable[int], *, name_both: bool = True) -> Markup:
        """Thumbnails with what was answered and what is true."""
        places = list(places)
        shown = [self._card(place, name_both) for place in places]
        return page.pictures(
            [jpeg for jpeg, _, _ in shown], [words for _, words, _ in shown], [small for _, _, small in shown],
            large=name_both, beside=[self.looks.get(int(place)) for place in places] if name_both else (),
        )  # fmt: skip

    def _card(self, place: int, name_both: bool) -> tuple[bytes | None, str, str]:
        found = self.predictions
        path = str(found.ids[place])
        sure = percent(float(found.confidence[place]), 0)
        if not name_both:
            return self.jpegs.get(path), sure, self._shown(path)
        predicted, true = found.classes[found.predicted[place]], found.classes[found.labels[place]]
        if found.correct[place]:
            return self.jpegs.get(path), Markup("<bdi>{}</bdi> {}").format(true, sure), self._shown(path)
        of_true = percent(float(np.exp(found.true_log_probability[place])), 0)
        words = Markup("answer: <bdi>{}</bdi> {}<br>label: <bdi>{}</bdi> {}").format(predicted, sure, true, of_true)
        return self.jpegs.get(path), words, self._shown(path)


def mistakes_page(
    title: str, subtitle: str, predictions: Predictions, thumbnails: Thumbnails, looks: Looks | None = None
) -> str:
    """The page's HTML. `thumbnails` gives small JPEGs by path, without those that cannot be read.

    `looks`, where the network can be asked, those that show where it looked; pairs are shown without.
    """
    errors, hits = confident_errors(predictions)[:_ERRORS], doubtful_hits(predictions)[:_HITS]
    pairs = confused_pairs(predictions, _PAIRS)
    worst = dict(list(worst_of_class(predictions, _OF_CLASS).items())[:_CLASSES])
    places = [errors, hits, *worst.values()]
    alone = np.unique(np.concatenate(places).astype(int))
    for pair in pairs:
        places += [some[:_EACH] for some in (pair.one_as_other, pair.other_as_one, pair.ones, pair.others)]
    wanted = np.unique(np.concatenate(places).astype(int))
    jpegs = thumbnails([str(one) for one in predictions.ids[wanted]])
    there = np.array([place for place in alone.tolist() if str(predictions.ids[place]) in jpegs], dtype=int)
    album = _Album(predictions, jpegs, looks(there) if looks and len(there) else {})
    sections = [
        _surest(album, errors), _confused(album, pairs), _by_class(album, worst), _doubtful(album, hits),
    ]  # fmt: skip
    return page.page(title, subtitle, _headline(predictions), [section for section in sections if section.parts])


def _headline(predictions: Predictions) -> list[Figure]:
    found = interval_of_share(predictions.correct)
    wrong = int((~predictions.correct).sum())
    interval = f"accuracy, 95 % interval {100 * found.low:.1f} to {100 * found.high:.1f}"
    figures = [
        Figure(percent(found.value), interval),
        Figure(f"{len(predictions):,}", "pictures"),
        Figure(f"{wrong:,}", "wrong answers", "bad" if wrong else "good"),
    ]
    if wrong:
        sure = float(np.median(predictions.confidence[~predictions.correct]))
        figures.append(Figure(percent(sure, 0), "median probability of a wrong answer"))
    return figures


def _surest(album: _Album, errors: np.ndarray) -> Section:
    lead = (
        "Wrong answers of which the network was surest come first. Look for wrong labels here, for pictures that show "
        "something else, and for kinds of pictures that training never showed."
    )
    if album.looks:
        lead += f" {HEAT}"
    section = Section("Most confident errors", lead)
    if not len(errors):
        return section.add(page.note("Every answer was right.", "good"))
    return section.add(album.show(errors))


def _confused(album: _Album, pairs: list[ConfusedPair]) -> Section:
    section = Section(
        "Most confused pairs",
        "Classes most often taken for each other: the mistakes, and beside them pictures of both that were recognised.",
    )
    names = album.predictions.classes
    for pair in pairs:
        one, other = names[pair.one], names[pair.other]
        section.add(
            Markup("<h3><bdi>{}</bdi> and <bdi>{}</bdi>: {}</h3>").format(one, other, counted(pair.mistakes, "mistake"))
        )
        halves = []
        for mistaken, true, answer in ((pair.one_as_other, one, other), (pair.other_as_one, other, one)):
            if len(mistaken):
                said = Markup("<bdi>{}</bdi>, taken for <bdi>{}</bdi> ({})").format(true, answer, len(mistaken))
                halves.append(_titled(said, album, mistaken))
        for recognised, name in ((pair.ones, one), (pair.others, other)):
            if len(recognised):
                halves.append(_titled(Markup("<bdi>{}</bdi>, recognised").format(name), album, recognised))
        section.add(page.side_by_side(*halves))
    return section


def _titled(title: Markup, album: _Album, places: np.ndarray) -> Markup:
    return Markup("<h4>{}</h4>{}").format(title, album.show(places[:_EACH], name_both=False))


def _by_class(album: _Album, worst: dict[int, np.ndarray]) -> Section:
    found = album.predictions
    wrong = int((np.bincount(found.labels[~found.correct], minlength=len(found.classes)) > 0).sum())
    lead = f"The hardest classes first; {wrong:,} of {counted(len(found.classes), 'class')} have mistakes."
    if wrong > len(worst):
        lead += f" The first {len(worst):,} are shown."
    section = Section("Each class's worst", lead)
    for code, places in worst.items():
        of_class = found.labels == code
        missed = int((of_class & ~found.correct).sum())
        many = counted(int(of_class.sum()), "picture")
        words = Markup("<bdi>{}</bdi>: {:,} of {} wrong").format(found.classes[code], missed, many)
        section.add(page.details(words, album.show(places)))
    return section


def _doubtful(album: _Album, hits: np.ndarray) -> Section:
    section = Section("Least certain hits", "Right answers of which the network was least sure.")
    return section.add(album.show(hits)) if len(hits) else section
