"""A map of many dimensions on two."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
from sklearn.decomposition import PCA

from pipeline.common.errors import BadInput


def chosen(how: str) -> str:
    """`pca` or `umap`, where `auto` takes UMAP if it is there. BadInput where it is asked for and is not."""
    there = find_spec("umap") is not None
    if how == "umap" and not there:
        raise BadInput("map=umap needs umap-learn: pip install -e '.[map]', or leave it to map=pca")
    return ("umap" if there else "pca") if how == "auto" else how


def flat(values: np.ndarray, how: str) -> tuple[np.ndarray, str]:
    """Features (n, d) as points (n, 2), and a sentence on how far to trust them. Draws from a fixed seed.

    McInnes, Healy and Melville 2018, "UMAP", for `umap`; else principal components.
    """
    floats = values.astype(np.float32)
    if how == "umap":
        points = import_module("umap").UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(floats)
        return points, "By UMAP: what is near stays near; distances between clouds say little."
    found = PCA(2, svd_solver="randomized", random_state=0)
    points = found.fit_transform(floats)
    share = found.explained_variance_ratio_.sum()
    return (
        points,
        f"The two principal components; they hold {share:.0%} of the variance, so clouds may overlap here only.",
    )
