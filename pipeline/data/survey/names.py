"""What the names of files and folders seem to say of pictures: a pattern for `data.from_path`, where they agree."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.checks import SPLIT_NAMES
from pipeline.data.table import PictureTable

_LOOKED_AT = 100_000  # pictures
_AGREE = 0.98  # of them
_SEPARATORS = ("-", "_", " ", ".", "--", "__")
_REPEATS = 3  # a value has to come so often, in the mean, to say anything
_MOST = 200  # values of what is no specimen
_YEAR = r"(?:19|20)\d\d"
_BY_CAMERAS = r"(?i:img|image|dsc[nf]?|pxl|dji|gopr|mvi|p|pict?|photo|scan)\d*"
_SHOWN = 3


@dataclass(frozen=True)
class Proposal:
    """A `pattern`, and by the column that it would make the first values of that."""

    pattern: str
    values: dict[str, list[str]]

    @property
    def said(self) -> str:
        """Its columns, each with some of its values."""
        return "; ".join(f"{name} is {', '.join(some)}, ..." for name, some in self.values.items())


def proposal(table: PictureTable) -> Proposal | None:
    """What the names say beside the label and the columns that are there; None for nothing, and for pictures in memory.

    Names agree where nearly all have as many folders, and their file names as many parts between one separator. A part
    says something where its values repeat within classes and are not what the class, or a column, says already: a
    running number, a camera's `IMG`, or the family that a class is of is none.
    """
    if table.in_memory:
        return None
    some = np.sort(np.random.default_rng(0).permutation(len(table.rows))[:_LOOKED_AT])
    rows = table.rows.iloc[some]
    known = [pd.factorize(rows[name].astype("str"))[0] for name in (*table.further, "split")]
    label = pd.factorize(rows["label"].astype("str"))[0]
    folders = table.files.iloc[some].astype("str").str.split("/")
    depth = int(folders.str.len().mode().iloc[0])
    stems = folders.str[-1].str.replace(r"\.\w+$", "", regex=True)
    found: dict[str, pd.Series] = {}
    pattern = ""
    for separator in ("", *_SEPARATORS):
        parts = stems.str.split(separator, regex=False) if separator else stems.map(lambda stem: [stem])
        many = int(parts.str.len().mode().iloc[0])
        here = ((folders.str.len() == depth) & (parts.str.len() == many)).to_numpy()
        if here.mean() < _AGREE:
            continue
        above = [(f"folder_{place + 1}", folders[here].str[place]) for place in range(depth - 1)]
        within = [(f"part_{place + 1}", parts[here].str[place]) for place in range(many)]
        named = [_named(part, name, label[here], [one[here] for one in known]) for name, part in (*above, *within)]
        fields = [
            name if name not in named[:place] else f"{name}_{place}" if name else "" for place, name in enumerate(named)
        ]
        says = {name: part for name, (_, part) in zip(fields, (*above, *within), strict=True) if name}
        if len(says) > len(found):
            first = next(place for place, name in enumerate(fields) if name or place == len(above))
            braced = [f"{{{name}}}" for name in fields]
            pattern = "/".join([*braced[first : len(above)], separator.join(braced[len(above) :])])
            found = says
    if not found:
        return None
    return Proposal(pattern, {name: part.drop_duplicates().iloc[:_SHOWN].tolist() for name, part in found.items()})


def _named(part: pd.Series, place: str, label: np.ndarray, known: list[np.ndarray]) -> str:
    """What to call a part of the names (n,) of pictures with these labels (n,); "" where it says nothing of them."""
    values, names = pd.factorize(part)
    if not 1 < len(names) <= len(values) / _REPEATS or any(
        _pairs(values, one) == len(names) == len(np.unique(one)) for one in known
    ):
        return ""
    pairs = _pairs(values, label)
    if pairs == len(np.unique(label)) or pairs > len(values) / 2:  # the class says it; or it hardly repeats within it
        return ""
    texts = pd.Series(names)
    if pairs == len(names):
        return "specimen"
    if texts.str.fullmatch(_YEAR).all():
        return "year"
    plain = texts.str.fullmatch(rf"\d+|{_BY_CAMERAS}").any() or texts.str.lower().isin(SPLIT_NAMES).all()
    return place if len(names) <= _MOST and not plain else ""


def _pairs(one: np.ndarray, other: np.ndarray) -> int:
    """How many pairs of values two columns of codes (n,) have."""
    return len(np.unique(one.astype(np.int64) * (other.max() + 1) + other))
