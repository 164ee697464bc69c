"""Which runs can be compared: those on the same classes, pictures and splits, and why others are apart."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.wording import first_few
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
        # Of folds, which hold out other pictures each, what their config says of the set.
        val = repr(_set_but_fold(one)) if one.folds else one.val.pictures
        test = one.test.pictures if one.test else ""
        groups[(one.classes, val, test, "" if one.resampled else one.data)].append(one)

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
    return sorted(_joined_over_splits(groups.values()), key=len, reverse=True)


def difference_of_data(ranked: Sequence[Entrant], others: Sequence[Entrant]) -> str:
    """Why two groups of runs are not ranked together, in a line."""
    one, other = ranked[0], others[0]
    seeds, own = (sorted({run.split_seed for run in runs}) for runs in (ranked, others))
    if seeds != own and one.classes == other.classes and _set_but_split(one) == _set_but_split(other):
        return f"other splits of the same pictures: {SPLIT}={','.join(own)} instead of {','.join(seeds)}"
    if one.classes != other.classes:
        new, gone = (sorted(set(a) - set(b)) for a, b in ((other.classes, one.classes), (one.classes, other.classes)))
        parts = [f"{verb} {first_few(names, 3)}" for verb, names in (("adds", new), ("lacks", gone)) if names]
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


def _joined_over_splits(groups: Iterable[list[Entrant]]) -> list[list[Entrant]]:
    """Groups that hold out other pictures of the same set, as the seed of their split has it, as one.

    Apart by the splits that all runs of their choice are on: means compare then.
    """
    by_set: dict[tuple[Any, ...], list[list[Entrant]]] = defaultdict(list)
    for group in groups:
        by_set[(group[0].classes, group[0].test is None, *_set_but_split(group[0]))].append(group)
    joined: list[list[Entrant]] = []
    for same in by_set.values():
        if not _are_splits(same):
            joined += same
            continue
        by_splits: dict[frozenset[str], list[Entrant]] = defaultdict(list)
        for runs in by_choice([one for group in same for one in group])[1].values():
            by_splits[frozenset(one.split_seed for one in runs)] += runs
        joined += by_splits.values()
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


def _set_but_fold(one: Entrant) -> list[tuple[str, str]]:
    """What its config says of the pictures, but for the fold."""
    no_part = ("data.root", "data.image_size", "data.fit", BOOTSTRAP, FOLD)
    return sorted(pair for pair in one.choices.items() if pair[0].startswith("data.") and pair[0] not in no_part)


def _set_but_split(one: Entrant) -> list[tuple[str, str]]:
    """What its config says of the pictures, and not of how they are split."""
    limit = ("trainer.limit_batches", one.choices.get("trainer.limit_batches", ""))
    no_part = (SPLIT, "data.fraction", "data.per_class")
    return [limit, *(pair for pair in _set_but_fold(one) if counts(pair[0]) and pair[0] not in no_part)]
