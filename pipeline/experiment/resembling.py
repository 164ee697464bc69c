"""Pictures that a network finds alike, beside those whose pixels are."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.data.table import PictureTable
from pipeline.evaluation.neighbourhood import Neighbourhood
from pipeline.predictions.feature_table import FeatureTable, read_features

_NEAREST = 5  # of each picture: of a scene taken often not every pair is wanted
_MOST = 50_000  # pictures compared


def features_to_compare(file: str, table: PictureTable) -> FeatureTable:
    """What `embed` wrote of this table's pictures, its rows numbered as the table's; of very many some by chance.

    BadInput where the file is of others.
    """
    found = read_features(expanded(Path(file), "explore.features"))
    rows = table.rows_of(found.rows["path"])
    known = found.rows["path"].isin(list(rows)).to_numpy()
    if known.sum() < 2:
        raise BadInput(
            f"explore.features={file}: it is of other pictures (of {found.made_of['data']['name']}, the first "
            f"{found.rows['path'].iloc[0]}): write one of these with python -m pipeline.embed"
        )
    chosen = np.flatnonzero(known)
    if len(chosen) > _MOST:
        chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:_MOST])
    some = found.rows.iloc[chosen]
    return FeatureTable(some.set_axis(some["path"].map(rows), axis=0), found.values[chosen], found.made_of)


def resembling(found: FeatureTable, table: PictureTable, least: float, alike: pd.DataFrame) -> pd.DataFrame:
    """Pairs at a cosine of `least` and more that are not of one group of `alike` (`copies`): two pictures a row.

    Columns `path`, `split`, `label`, the same of the `other_`, and `cosine`. Those in two splits or under two labels
    come first, then the most alike.
    """
    rows = found.rows.index.to_numpy()
    near = Neighbourhood.of(found.values, table.labels[rows], _NEAREST, np.arange(len(rows)))
    pairs, cosine = near.copies(least)
    facts = table.rows[["path", "split", "label"]].astype("str")
    one, other = (facts.iloc[rows[pairs[:, side]]].reset_index(drop=True) for side in (0, 1))
    group = pd.Series(alike["group"].to_numpy(), alike["row"])
    groups = [pd.Series(rows[pairs[:, side]]).map(group) for side in (0, 1)]
    made = pd.concat([one, other.add_prefix("other_")], axis=1).assign(cosine=cosine.round(4))
    made = made[(groups[0] != groups[1]).to_numpy()]
    crossing = (made["split"] != made["other_split"]) | (made["label"] != made["other_label"])
    return made.iloc[np.argsort(~crossing.to_numpy(), kind="stable")].reset_index(drop=True)
