"""The photographs on which the leaders of a comparison disagree, as one page."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from pipeline.common.wording import counted, percent
from pipeline.evaluation.mistakes import disagreements
from pipeline.predictions.predictions import Predictions
from pipeline.reporting import page
from pipeline.reporting.mistakes_page import Thumbnails
from pipeline.reporting.page import Figure, Section
from pipeline.reporting.shown_paths import shown_below

FILE = "disagreements.html"  # beside a comparison's page
_EACH = 24


def disagreements_page(
    title: str, subtitle: str, members: Mapping[str, Predictions], thumbnails: Thumbnails
) -> str | None:
    """The page's HTML; None where all answer alike. `members` by name, best first, have one order of pictures."""
    best = next(iter(members.values()))
    places = disagreements(list(members.values()))
    if not len(places):
        return None
    right = np.stack([one.correct for one in members.values()])[:, places]
    kinds = {
        f"Only others than {next(iter(members))} are right": ~right[0] & right[1:].any(axis=0),
        f"{next(iter(members))} is right, another is not": right[0] & ~right[1:].all(axis=0),
        "Nobody is right, and the answers differ": ~right.any(axis=0),
    }
    shown = {name: places[which][:_EACH] for name, which in kinds.items()}
    jpegs = thumbnails([str(one) for one in best.ids[np.concatenate(list(shown.values()))]])
    below, sections = shown_below(map(str, best.ids)), []
    for name, which in kinds.items():
        cards = [_card(members, place) for place in shown[name]]
        paths = [str(one) for one in best.ids[shown[name]]]
        section = Section(name, f"{counted(int(which.sum()), 'picture')}; those come first of which they are surest.")
        section.add(page.pictures([jpegs.get(path) for path in paths], cards, list(map(below, paths)), large=True))
        sections += [section] if cards else []
    figures = [
        Figure(f"{len(places):,}", f"of {counted(len(best), 'picture')} answered differently"),
        *(Figure(percent(float(one.correct.mean())), name) for name, one in members.items()),
    ]
    return page.page(title, subtitle, figures, sections)


def _card(members: Mapping[str, Predictions], place: int) -> Markup:
    first = next(iter(members.values()))
    lines = [Markup("label: <bdi>{}</bdi>").format(first.classes[first.labels[place]])]
    for name, one in members.items():
        answer, sure = one.classes[one.predicted[place]], percent(float(one.confidence[place]), 0)
        lines.append(Markup("{}: <bdi>{}</bdi> {}").format(name, answer, sure))
    return Markup("<br>").join(lines)
