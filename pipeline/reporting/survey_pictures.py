"""The parts of a survey's page that show photographs: pairs of copies, augmented views, pictures that are odd."""

from collections.abc import Mapping

import pandas as pd
from markupsafe import Markup

from pipeline.common.wording import counted
from pipeline.reporting import page
from pipeline.reporting.page import Section

MOST_PAIRS = 24


def pairs(leaks: pd.DataFrame, rows: Mapping[str, int], jpegs: Mapping[int, bytes], rest: str) -> Markup:
    """Pairs of pictures (in two splits or under two labels, say) side by side; `rows` and `jpegs` by path and row.

    `rest` says where those are that are not shown.
    """
    shown = [
        page.pictures(
            [jpegs.get(rows[pair[path]]) for path in ("path", "other_path")],
            [f"{pair[split]}: {pair[label]}" for split, label in (("split", "label"), ("other_split", "other_label"))],
            [pair["path"], pair["other_path"]],
            large=True,
        )
        for pair in leaks.head(MOST_PAIRS).to_dict("records")
    ]
    left = len(leaks) - len(shown)
    return page.side_by_side(*shown) + (page.note(f"{left:,} more are {rest}.") if left > 0 else Markup(""))


def resembling(found: pd.DataFrame, least: float, rows: Mapping[str, int], jpegs: Mapping[int, bytes]) -> Section:
    """Pairs that a network finds alike from the cosine `least` on, as `pairs`."""
    how = (
        f"Pairs whose features have a cosine of {least:g} and more and that are no copies by their pixels: one scene "
        "from another angle, one specimen. Those in two splits or under two labels come first."
    )
    section = Section("Alike to a network", how)
    if found.empty:
        return section.add(page.note("There are none.", "good"))
    torn = int((found["split"] != found["other_split"]).sum())
    if torn:
        say = f"{counted(torn, 'pair')} in two splits: data.split.group=COLUMN keeps a specimen's pictures together."
        section.add(page.note(say, "bad"))
    return section.add(pairs(found, rows, jpegs, "in resembling.csv"))


def augmented(views: list[list[bytes]]) -> Markup:
    """A row a picture: as it is, then as training sees it."""
    strips = [page.pictures(shown, ["as it is", *[f"view {n}" for n in range(1, len(shown))]]) for shown in views]
    return Markup("").join(strips)


def what_it_assumes(name: str, options: Mapping[str, object]) -> list[str]:
    """What must be true of the things on the pictures for an augmentation to do no harm."""

    def moves(*keys: str) -> bool:
        return any(isinstance(options.get(key), int | float) and options[key] for key in keys)

    said = {
        "Mirroring assumes that left and right do not matter: a mirrored cone shell coils the wrong way, and letters "
        "become others.": moves("flip"),
        "Turning assumes that things need not stand upright.": moves("degrees") or name == "trivial",
        "Cutting parts out assumes that a part is enough to tell the class.": "scale" in options,
        "Changing colours assumes that no class is told by its exact hue.": moves(
            "brightness", "contrast", "saturation", "hue"
        ) or name == "trivial",
    }  # fmt: skip
    return [words for words, applies in said.items() if applies]


def odd(found: pd.DataFrame, paths: pd.Series, jpegs: Mapping[int, bytes]) -> Markup:
    """The odd ones with what is odd about them."""
    return page.pictures(
        [jpegs.get(row) for row in found["row"]], found["why"].tolist(), paths.iloc[found["row"]].tolist()
    )
