"""What people made of answers: the columns of `predict`'s CSV that are theirs, read as labels."""

import logging

import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.data.files import cell_text, unguarded

BY_PEOPLE = ("corrected", "checked")
_YES, _NO = ("yes", "true", "1", "x", "y"), ("", "no", "false", "0", "n")
log = logging.getLogger(__name__)


def is_corrected(table: pd.DataFrame) -> bool:
    """Whether a table is one of answers, with people's columns."""
    return {"picture", "label", *BY_PEOPLE} <= set(table)


def as_labels(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Of answers that somebody looked at, `path` and `label`: what was corrected, else the label that was found right.

    Answers that nobody looked at are left out, and counted. BadInput where that is all of them, and for a `checked`
    that is neither yes nor no.
    """
    corrected = unguarded(table["corrected"].map(cell_text))
    checked = table["checked"].map(cell_text).str.lower()
    odd = ~checked.isin([*_YES, *_NO])
    if odd.any():
        row = int(odd.to_numpy().argmax())
        raise BadInput(
            f"{source}: checked is {table['checked'].iloc[row]!r} for {table['picture'].iloc[row]}; write yes, or "
            "leave it blank"
        )
    looked = (corrected != "") | checked.isin(_YES)
    if not looked.any():
        raise BadInput(
            f"{source}: nobody has looked at these answers: write yes into checked, or the right label into corrected"
        )
    if not looked.all():
        log.info("%s: %s of %s answers, at which nobody looked, are left out", source, f"{(~looked).sum():,}",
                 f"{len(table):,}")  # fmt: skip
    label = corrected.where(corrected != "", unguarded(table["label"].map(cell_text)))
    kept = table.drop(columns=["label", *BY_PEOPLE]).assign(path=unguarded(table["picture"].astype("str")), label=label)
    return kept[looked].drop(columns="picture").reset_index(drop=True)
