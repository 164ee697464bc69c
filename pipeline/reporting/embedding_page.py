"""What a network's features say of a set of pictures, as one page: a map, doubtful labels, copies, pictures apart."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline.common.wording import counted, percent
from pipeline.evaluation.neighbourhood import Neighbourhood
from pipeline.evaluation.statistics import Interval
from pipeline.reporting import charts, page, survey_pictures
from pipeline.reporting.page import Figure, Section

_DOUBTFUL, _BESIDE, _SOLITARY, _DOTS = 16, 2, 24, 3_000  # pictures; neighbours beside each; pictures; dots
_MOST_TILES = 216  # pictures of the map, the whole grid


@dataclass(frozen=True)
class Embedded:
    """`pictures` (`path`, `label`, `split`) of n rows, compared by features: their `points` (n, 2) on the map with a
    sentence on it, `near` each other from the cosine `least`; `accuracy`: of so many nearest, leave-one-out, over
    `counted_in` pictures.
    """  # fmt: skip

    pictures: pd.DataFrame
    neighbours: Neighbourhood
    points: np.ndarray
    of_the_map: str
    least: float
    accuracy: Mapping[int, Interval]
    counted_in: int

    def words(self, place: int) -> str:
        """The label and the split of a picture."""
        return f"{self.pictures['label'].iloc[place]} ({self.pictures['split'].iloc[place]})"

    def paths(self, places: Iterable[int]) -> list[str]:
        """Where some pictures lie."""
        return self.pictures["path"].iloc[list(places)].tolist()


Jpegs = Callable[[np.ndarray], Mapping[int, bytes]]


def embedding_page(title: str, found: Embedded, jpegs: Jpegs) -> str:
    """The page's HTML; `jpegs` gives small JPEGs by place, without those that cannot be read any more."""
    doubtful, solitary = found.neighbours.doubtful(), found.neighbours.solitary()[:_SOLITARY]
    pairs, cosines = found.neighbours.copies(found.least)
    tiles = charts.mosaic(found.points)[:_MOST_TILES]
    shown = doubtful[:_DOUBTFUL]
    wanted = [shown, found.neighbours.near[shown, :_BESIDE], solitary, pairs[: survey_pictures.MOST_PAIRS]]
    small = jpegs(np.unique(np.concatenate([*map(np.ravel, wanted), [place for place, *_ in tiles]]).astype(int)))
    figures = [
        Figure(f"{len(found.pictures):,}", "pictures compared"),
        *[
            Figure(percent(one.value), f"right by the {'nearest' if k == 1 else f'{k} nearest'}; {_ends(one)}")
            for k, one in found.accuracy.items()
        ],
        Figure(f"{len(doubtful):,}", "labels in doubt", "bad" if len(doubtful) else "good"),
        Figure(f"{len(pairs):,}", "near-duplicate pairs", "bad" if len(pairs) else "good"),
    ]  # fmt: skip
    sections = [
        _map(found, tiles, small), _doubtful(found, doubtful, small), _copies(found, pairs, cosines, small),
        _apart(found, solitary, small), _classes(found),
    ]  # fmt: skip
    return page.page(title, "What the network's features, as they are, say of the pictures.", figures, sections)


def _ends(share: Interval) -> str:
    return f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f}"


def _map(found: Embedded, tiles: list[tuple[int, int, int]], small: Mapping[int, bytes]) -> Section:
    section = Section("Map", f"Pictures that the network finds alike lie near each other. {found.of_the_map}")
    labels = found.pictures["label"].cat
    some = np.sort(np.random.default_rng(0).permutation(len(found.points))[:_DOTS])
    drawn = "" if len(some) == len(found.points) else f" ({len(some):,} of them, by chance)"
    hints = [f"{found.words(place)}: {path}" for place, path in zip(some, found.paths(some), strict=True)]
    kinds = labels.codes.to_numpy()[some]
    section.add(charts.cloud(
        found.points[some], kinds, labels.categories.astype(str).tolist(), hints, title=f"Pictures by class{drawn}"
    ))  # fmt: skip
    there = [
        (x, y, page.source(small[place]), f"{found.words(place)}: {found.paths([place])[0]}")
        for place, x, y in tiles if place in small
    ]  # fmt: skip
    return section.add(charts.tiled(there, title="The same map, one photograph from each part of it"))


def _doubtful(found: Embedded, places: np.ndarray, small: Mapping[int, bytes]) -> Section:
    k = found.neighbours.near.shape[1]
    section = Section(
        "Probable wrong labels",
        f"Pictures of which most of the {k} nearest are of another class, the surest first; beside each its nearest. "
        "Where classes look alike to this network, many of them are right.",
    )
    if not len(places):
        return section.add(page.note("Every picture lies among those of its class.", "good"))
    answers, names = found.neighbours.answers(k), found.pictures["label"].cat.categories
    strips = []
    for place in places[:_DOUBTFUL].tolist():
        beside = found.neighbours.near[place, :_BESIDE].tolist()
        words = Markup("label: {}<br>neighbours: {}").format(found.words(place), names[answers[place]])
        captions = [words, *(found.words(other) for other in beside)]
        strips.append(
            page.pictures([small.get(one) for one in (place, *beside)], captions, found.paths((place, *beside)))
        )
    listing = found.pictures.iloc[places].assign(
        neighbours=names[answers[places]], doubt=found.neighbours.doubt[places]
    )
    return section.add(page.side_by_side(*strips), page.details("As a table", page.table(listing)))


def _copies(found: Embedded, pairs: np.ndarray, cosines: np.ndarray, small: Mapping[int, bytes]) -> Section:
    section = Section(
        "Near-duplicates",
        f"Pairs at a cosine of {found.least:g} and more (near=), the most alike first: copies, one scene twice, one "
        "specimen. python -m pipeline.explore finds copies by their pixels.",
    )
    if not len(pairs):
        return section.add(page.note("No two pictures are that much alike.", "good"))
    one, other = (found.pictures.iloc[side].reset_index(drop=True) for side in pairs.T)
    both = one.join(other.add_prefix("other_"))
    torn = int((both["split"].astype(str) != both["other_split"].astype(str)).sum())
    if torn:
        section.add(page.note(f"{counted(torn, 'pair')} in two splits: scores flatter if these are copies.", "bad"))
    rows = dict(zip(found.paths(pairs.ravel()), pairs.ravel().tolist(), strict=True))
    section.add(survey_pictures.pairs(both, rows, small, "in the table"))
    return section.add(page.details("As a table", page.table(both.assign(cosine=cosines))))


def _apart(found: Embedded, places: np.ndarray, small: Mapping[int, bytes]) -> Section:
    lead = "Those least like any other, by the mean cosine of their neighbours. Do they show what they should?"
    captions = [Markup("{}<br>{:.2f}").format(found.words(place), found.neighbours.company[place]) for place in places]
    shown = page.pictures([small.get(place) for place in places.tolist()], captions, found.paths(places))
    return Section("Pictures apart", lead).add(shown)


def _classes(found: Embedded) -> Section:
    """How well each class is told apart, and from which it is told worst."""
    k = found.neighbours.near.shape[1]
    answers, labels = found.neighbours.answers(k), found.neighbours.labels
    names = found.pictures["label"].cat.categories
    rows = []
    for code in np.unique(labels).tolist():
        said = answers[labels == code]
        others = np.bincount(said[said != code], minlength=len(names))
        taken = f"{names[others.argmax()]} ({others.max():,})" if others.any() else ""
        rows.append(
            {
                "class": names[code],
                "pictures": len(said),
                "right (%)": 100 * (said == code).mean(),
                "most taken for": taken,
            }
        )
    lead = f"What the {k} nearest of each class's pictures are, those of test too: where features alone tell least."
    listing = pd.DataFrame(rows).sort_values("right (%)", kind="stable").round(1)
    accuracy = "; ".join(f"k = {n}: {percent(one.value)} ({_ends(one)})" for n, one in found.accuracy.items())
    return Section("Classes", lead).add(
        page.note(
            f"Leave-one-out accuracy of k neighbours over {counted(found.counted_in, 'picture')} that are not in test: "
            f"{accuracy}. Copies, and pictures of one specimen without data.split.group, flatter it."
        ),
        page.table(listing, most=500),
    )
