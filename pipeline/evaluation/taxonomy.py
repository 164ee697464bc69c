"""Errors seen in the light of the taxonomy: a tern taken for a gull is not a tern taken for a mushroom.

A taxonomy is a table with a row a class, indexed by class name, with some of the columns `RANKS`.
"""

from itertools import pairwise

import pandas as pd

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


def ranks_of(taxonomy: pd.DataFrame) -> list[str]:
    """The ranks that the taxonomy has, from the root down."""
    return [rank for rank in RANKS if rank in taxonomy]


def lineages(taxonomy: pd.DataFrame) -> pd.DataFrame:
    """Each class's group at each rank, named by the whole path down to it, so that homonyms stay apart.

    A missing name counts as a group of its own with its class.
    """
    ranks = ranks_of(taxonomy)
    own = pd.Series([f"({name})" for name in taxonomy.index], index=taxonomy.index)
    named = taxonomy[ranks].astype("string").apply(lambda column: column.fillna(own))
    for above, below in pairwise(ranks):
        named[below] = named[above] + " / " + named[below]
    return named


def grouping(taxonomy: pd.DataFrame, most: int) -> pd.Series | None:
    """The finest rank with 2 to `most` groups, as each class's group; None where there is no such rank."""
    for rank in reversed(ranks_of(taxonomy)):
        if 2 <= taxonomy[rank].nunique() <= most:
            return taxonomy[rank]
    return None
