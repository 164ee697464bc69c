"""A decision tree as a picture: its first questions."""

import re
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.reporting.plots.style import new_figure, shortened

_DEPTH, _LONGEST = 3, 24
_COUNTS = re.compile(r"^(\d+)\n\[[^\]]*\]\n", re.MULTILINE)


def first_questions(tree: Any, questions: Sequence[str], answers: Sequence[str], title: str = "") -> Figure:
    """The upper levels of scikit-learn's `tree`, whose features are `questions`, and whose classes, in its order,
    `answers`.
    """
    from sklearn.tree import plot_tree  # noqa: PLC0415 - costs time, and most runs draw none

    figure = new_figure(16, 6, title)
    FigureCanvasAgg(figure)  # which scikit-learn asks how large texts are
    texts = plot_tree(
        tree, max_depth=_DEPTH, feature_names=shortened(questions, _LONGEST), class_names=shortened(answers, _LONGEST),
        impurity=False, label="none", precision=2, fontsize=7, ax=figure.subplots(),
    )  # fmt: skip
    for text in texts:  # without the counts of every class, and with what the samples are
        text.set_text(_COUNTS.sub(r"\1 pictures, most of\n", text.get_text()))
    return figure
