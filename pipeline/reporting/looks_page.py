"""Where a network looked in pictures, and what its layers make of them, as one page."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.common.wording import counted, percent
from pipeline.data.attributes import in_words
from pipeline.explaining.attributes import InWords
from pipeline.reporting import page
from pipeline.reporting.page import Figure, Section

FILE = "looks.html"
METHODS = {
    "gradcam": (
        "Grad-CAM",
        "Yellow is where the last map of the network, as coarse as it is, holds most of the evidence for the class.",
    ),
    "integrated_gradients": (
        "integrated gradients",
        "Yellow is where pixels add most to the class's score, on the way from a picture of one colour to this one.",
    ),
    "occlusion": (
        "occlusion",
        "Yellow is where the class's score falls most when that part of the picture is covered.",
    ),
}


@dataclass(frozen=True)
class Looked:
    """A picture, by the `path` that is shown: what was answered, the class whose evidence is shown, and the pictures.

    `as_read` and `looks`, by a network's name, are JPEGs; `layers`, PNGs of activation maps by the layer's name;
    `words`, what the attributes say of that class, of each network that reads any.
    """

    path: str
    answer: str
    probability: float
    label: str
    as_read: bytes
    looks: Sequence[tuple[str, bytes]]
    layers: Sequence[tuple[str, bytes]] = ()
    words: Sequence[InWords] = ()


def looks_page(
    title: str, method: str, some: Sequence[Looked], count: int, filters: Sequence[tuple[str, bytes]]
) -> str:
    """The page's HTML: of `count` pictures those that are shown, and the `filters` of the first layers, as PNGs."""
    called, says = METHODS[method]
    figures = [Figure(f"{count:,}", "pictures"), Figure(called, "how it was asked")]
    labels = {one.label for one in some if one.label != one.answer}
    if labels:
        figures.append(Figure(labels.pop(), "whose evidence is shown"))
    lead = f"{says} A picture is shown as the network reads it; what speaks against the class is not shown."
    if count > len(some):
        lead += f" The first {len(some):,} stand here; all are in files beside this page."
    where = Section("Where it looked", lead).add(*map(_picture, some))
    layers = Section(
        "What its layers make of it",
        "Each tile is a channel, white where it is strongest: of the first convolution, whose filters are below, "
        "and of the last map that still says where.",
    ).add(*(_layers(one) for one in some if one.layers))
    first = Section(
        "Filters of the first layer",
        "What each channel of the first convolution answers to: edges, colours, stripes. Noise means that little was "
        "learnt.",
    )
    for name, png in filters:
        first.add(Markup("<h3><bdi>{}</bdi></h3>").format(name), _tiles(png, f"filters of {name}"))
    sections = [section for section in (where, layers, first) if section.parts]
    return page.page(title, f"Where it looked in {counted(count, 'picture')}", figures, sections)


def _picture(one: Looked) -> Markup:
    sure = percent(one.probability, 0)
    said = Markup("answer: <bdi>{}</bdi> {}").format(one.answer, sure)
    if one.label != one.answer:
        said += Markup("; shown: <bdi>{}</bdi>").format(one.label)
    shown = page.pictures(
        [one.as_read, *(jpeg for _, jpeg in one.looks)], ["as it is read", *(name for name, _ in one.looks)], large=True
    )
    words = Markup('<h3><bdi>{}</bdi></h3><p class="note">{}</p>').format(one.path, said)
    return words + Markup('<div class="larger">{}</div>').format(shown) + Markup("").join(map(_in_words, one.words))


def _in_words(one: InWords) -> Markup:
    sides = (("for it", one.in_favour), ("against it", one.against))
    said = [f"{side}: {'; '.join(map(str, some))}" for side, some in sides if some]
    said.append(f"{percent(one.agreement, 0)} of what was weighed agrees with what is known of the class")
    if one.overruled is not None:
        said.append(f"out of the question by a rule: {one.overruled}")
    if one.broken is not None:
        said.append(f"it breaks the rule {' and '.join(one.broken.rules)}: {one.broken.added:+.1f}")
    if one.direct_share is not None:
        said.append(f"{percent(one.direct_share, 0)} of the decision does not come from attributes")
    said.append(f"worth asking first: {'; '.join(map(in_words, one.ask_first))}")
    return Markup("").join(Markup("<p>{}</p>").format(line) for line in said)


def _layers(one: Looked) -> Markup:
    parts = [
        Markup("<h4>{}</h4>{}").format(name, _tiles(png, f"activation maps of {name}")) for name, png in one.layers
    ]
    return page.details(one.path, page.side_by_side(*parts))


def _tiles(png: bytes, alt: str) -> Markup:
    return Markup('<img class="tiles" alt="{}" src="{}">').format(alt, page.source(png))
