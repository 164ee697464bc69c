"""Which runs can be compared: those on the same classes, pictures and splits, and why others are apart."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.choices import counts
from pipeline.comparison.entrants import Entrant, by_choice
from pipeline.config.keys import BOOTSTRAP, FOLD, SPLIT
from pipeline.data.digest import CONTENT_FORM


def comparable(entrants: Sequence[Entrant]) -> list[list[Entrant]]:
    """The runs in groups on the same classes, pictures and splits; the largest group first.

    Folds of one split are together. So are runs on a part or a resample of the training pictures, which is a
    choice like others: their val and test are the same. Runs on several splits of the same pictures, which differ in
    `data.split.seed`, are together where each choice was run on all of these splits.
    """
    groups: dict[tuple[Any, ...], list[Entrant]] = defaultdict(list)
    for one in entrants:
        test = one.test.pictures if one.test else ""
        groups[(one.classes, _held_out(one), test, "" if one.resampled else one.data)].append(one)

    def join_twin(key: tuple[Any, ...], *, of_contents: bool) -> None:
        """Join a group to the only one that is like it in all but the digest of its data, where that has one."""
        others = [other for other in groups if other[:-1] == key[:-1] and other != key and other[-1]]
        if len(others) == 1 and (others[0][-1].startswith(CONTENT_FORM) or not of_contents):
            groups[others[0]] += groups.pop(key)

    # Digests of sizes, as runs of earlier versions have, cannot be held against digests of contents: such runs are
    # on the same data where val and test are the same pictures, unless there is a choice of such data.
    for key in [key for key in groups if key[-1] and not key[-1].startswith(CONTENT_FORM)]:
        join_twin(key, of_contents=True)
    for key in [key for key in groups if not key[-1]]:
        join_twin(key, of_contents=False)
    return sorted(_joined_over_splits(list(groups.values())), key=len, reverse=True)


def difference_of_data(ranked: Sequence[Entrant], others: Sequence[Entrant]) -> str:
    """Why two groups of runs are not ranked together, in a line."""
    one, other = ranked[0], others[0]
    seeds, own = (sorted({run.split_seed for run in runs}) for runs in (ranked, others))
    if seeds != own and one.classes == other.classes and _set_but_split(one) == _set_but_split(other):
        return f"other splits of the same pictures: {SPLIT}={','.join(own)} instead of {','.join(seeds)}"
    if one.classes != other.classes:
        new, gone = (sorted(set(a) - set(b)) for a, b in ((other.classes, one.classes), (one.classes, other.classes)))
        parts = [f"{verb} {_some(names)}" for verb, names in (("adds", new), ("lacks", gone)) if names]
        why = f"other classes ({'; '.join(parts) or 'in another order'})"
    elif one.val.pictures != other.val.pictures or (
        one.test and other.test and one.test.pictures != other.test.pictures
    ):
        of_test = f", {len(other.test.labels):,} test" if other.test else ""
        why = f"other pictures ({len(other.val.labels):,} val{of_test})"
    else:
        why = "other training data"
    keys = sorted({key for run in (one, other) for key in run.choices if key.startswith(("data.", "trainer.limit"))})
    told = [f"{key}={other.choices.get(key)}" for key in keys if one.choices.get(key) != other.choices.get(key)]
    return f"{why}: {', '.join(told)}" if told else f"{why}: the files changed between the runs"


def _joined_over_splits(groups: Sequence[list[Entrant]]) -> list[list[Entrant]]:
    """Groups that hold out other pictures of the same set, as the seed of their split has it, as one."""
    by_set: dict[tuple[Any, ...], list[list[Entrant]]] = defaultdict(list)
    for group in groups:
        by_set[(group[0].classes, group[0].test is None, *_set_but_split(group[0]))].append(group)
    joined: list[list[Entrant]] = []
    for same in by_set.values():
        joined += _by_splits([one for group in same for one in group]) if _are_splits(same) else same
    return joined


def _are_splits(groups: Sequence[list[Entrant]]) -> bool:
    """Whether groups of one set differ in the split alone: another seed each, as many pictures, the same labels."""
    seeds = [{one.split_seed for one in group} for group in groups]
    if len(groups) < 2 or sum(map(len, seeds)) != len(frozenset().union(*seeds)):
        return False
    runs = [one for group in groups for one in group]
    totals = {
        one.trained_on + len(one.val.labels) + (len(one.test.labels) if one.test else 0)
        for one in runs
        if one.trained_on is not None and not one.resampled
    }
    scores = {score.pictures: score for one in runs for score in (one.val, one.test) if score}.values()
    ids, labels = (np.concatenate([getattr(one, name) for one in scores]) for name in ("ids", "labels"))
    pairs = pd.DataFrame({"id": ids, "label": labels}).drop_duplicates()
    return len(totals) < 2 and not pairs["id"].duplicated().any()


def _by_splits(runs: Sequence[Entrant]) -> list[list[Entrant]]:
    """Runs over several splits, apart by the splits that all runs of their choice are on: means compare then."""
    groups: dict[frozenset[str], list[Entrant]] = defaultdict(list)
    for same in by_choice(runs)[1].values():
        groups[frozenset(one.split_seed for one in same)] += same
    return list(groups.values())


def _held_out(one: Entrant) -> str:
    if not one.folds:
        return one.val.pictures
    return repr(sorted(pair for pair in one.choices.items() if _says_the_data(pair[0]) and pair[0] != FOLD))


def _set_but_split(one: Entrant) -> list[tuple[str, str]]:
    """What its config says of the pictures, and not of how they are split."""
    no_part = (FOLD, SPLIT, "data.fraction")
    return sorted(
        (key, value)
        for key, value in one.choices.items()
        if (_says_the_data(key) and counts(key) and key not in no_part) or key == "trainer.limit_batches"
    )


def _says_the_data(key: str) -> bool:
    return key.startswith("data.") and key not in ("data.root", "data.image_size", "data.fit", BOOTSTRAP)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
