"""What a careful person looks at before training, as sections of one page."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline.common.wording import counted, first_few
from pipeline.data.digest import class_counts, class_weights
from pipeline.data.survey.columns import column_report
from pipeline.data.survey.names import Proposal
from pipeline.data.survey.statistics import channel_statistics, unreadable
from pipeline.data.table import IN_TARS, PictureTable
from pipeline.data.taxonomy import RANKS
from pipeline.reporting import charts, page, survey_pictures
from pipeline.reporting.page import Figure, Section
from pipeline.reporting.shown_paths import shown_below

_MOST_BARS = 40
_MOST_RANK_BARS = 25
_MOST_DOTS = 3_000
_OWN_COLUMNS = ("path", "label", "split", "bytes", *IN_TARS, "latitude", "longitude")
_SPLIT_WORDS = "Colours are splits. Val chooses, test has the last word; neither trains."


@dataclass(frozen=True)
class Survey:
    """All that was found: `facts` of the pictures opened, `alike` and `leaks` among them, thumbnails.

    `brought`: the splits that the set came with; `too_small`: classes that cannot be in every split; `odd`: see
    `outliers`; `jpegs`: by row, of leaks and odd ones; `augmented`: pictures as training sees them, `augmentation` its
    name and options; `mended`: where a split without these leaks was written.
    `resembling`: pairs that a network finds alike from `near_cosine` on; None where none was asked. `proposed`: columns
    that could be made of the pictures' names.
    """

    table: PictureTable
    facts: pd.DataFrame
    alike: pd.DataFrame
    leaks: pd.DataFrame
    thumbnails: list[tuple[bytes, str]]
    distance: int
    image_size: int
    brought: tuple[str, ...] = ()
    too_small: list[str] = field(default_factory=list)
    odd: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["row", "why"]))
    jpegs: dict[int, bytes] = field(default_factory=dict)
    augmented: list[list[bytes]] = field(default_factory=list)
    augmentation: tuple[str, dict[str, object]] = ("none", {})
    mended: str = ""
    resembling: pd.DataFrame | None = None
    near_cosine: float = 0.8
    proposed: Proposal | None = None


def survey_page(found: Survey) -> str:
    """The page's HTML. It is made to be shared: files are told by their places below the data's root."""
    found = _below_root(found)
    table, opened = found.table, len(found.facts)
    n = table.files.nunique()
    said = f"{counted(n, 'picture')} of {counted(len(table.classes), 'class')}"
    if n < len(table.rows):  # some have a row an animal
        said = f"{counted(len(table.rows), 'animal')} in {said}"
    part = "every picture was opened" if opened == n else f"a sample of {counted(opened, 'picture')} was opened"
    sections = [
        classes(table, found.brought, found.too_small), *taxonomy(table), trouble(found), same(found),
        *alike_to_a_network(found), shapes(found), colours(found), *odd_ones(found), *metadata(table, found.proposed),
        *augmented(found), samples(found),
    ]  # fmt: skip
    return page.page(table.name, f"{said}; {part}.", headline(found), sections)


def findings(found: Survey) -> list[str]:
    """What needs a person's eye, a line each, for the terminal."""
    skipped, broken, lines = found.table.skipped, unreadable(found.table, found.facts), []
    if found.too_small:
        lines.append(f"classes with too few pictures to be in every split: {first_few(found.too_small)}")
    if skipped:
        path, why = next(iter(skipped.items()))
        verb = "is" if len(skipped) == 1 else "are"
        lines.append(f"{counted(len(skipped), 'picture')} {verb} left out: {path} {why}")
    if len(broken):
        first = broken.iloc[0]
        lines.append(f"{counted(len(broken), 'picture')} cannot be read: {first['path']} {first['problem']}")
    # One picture under two labels is a fault of the labels; only what is in two splits is a leak.
    leaks = found.leaks["leak"] != "label"
    for some, what in ((found.leaks[leaks], "leak"), (found.leaks[~leaks], "label conflict")):
        if len(some):
            one = some.iloc[0]
            lines.append(
                f"{counted(len(some), what)}: {one['path']} ({one['split']}, {one['label']}) is "
                f"{one['other_path']} ({one['other_split']}, {one['other_label']})"
            )
    return lines


def _below_root(found: Survey) -> Survey:
    """The same with no path that begins at the root of this machine."""
    table = found.table
    roots = [] if table.root is None else [os.fspath(table.root), os.fspath(table.root.resolve())]
    below = shown_below(table.rows["path"], roots)
    rows = table.rows.assign(path=table.rows["path"].map(below))
    skipped = {below(path): reason for path, reason in table.skipped.items()}
    leaks, resemble = (
        pairs if pairs is None else pairs.assign(**{name: pairs[name].map(below) for name in ("path", "other_path")})
        for pairs in (found.leaks, found.resembling)
    )
    table = replace(table, rows=rows, skipped=skipped)
    return replace(found, table=table, leaks=leaks, resembling=resemble)


def headline(found: Survey) -> list[Figure]:
    """The numbers seen first."""
    counts = class_counts(found.table).sum(axis=1)
    leaks = found.leaks["leak"] != "label"
    unreadable = int((found.facts["problem"] != "").sum())
    return [
        Figure(*_apart(found.table.files.nunique(), "picture")),
        Figure(f"{len(found.table.classes):,}", "classes"),
        Figure(f"{int(counts.min()):,} – {int(counts.max()):,}", "pictures a class"),
        Figure(f"{unreadable:,}", "unreadable", "bad" if unreadable else "good"),
        Figure(*_apart(int(leaks.sum()), "leak"), "bad" if leaks.any() else "good"),
        *([] if leaks.all() else [Figure(f"{(~leaks).sum():,}", "label conflicts", "bad")]),
    ]


def _apart(number: int, name: str) -> tuple[str, str]:
    """A number, and in its plural what it counts."""
    figure, _, words = counted(number, name).partition(" ")
    return figure, words


def classes(table: PictureTable, brought: tuple[str, ...] = (), too_small: Sequence[str] = ()) -> Section:
    """Pictures a class and split, the imbalance, the weights it suggests, and where the splits come from."""
    counts = class_counts(table)
    used = counts.loc[:, counts.sum() > 0]
    totals = used.sum(axis=1).sort_values(ascending=False, kind="stable")
    weights = class_weights(table.labels[table.where("train")], len(table.classes))
    listing = counts.assign(all=counts.sum(axis=1), weight=weights).reset_index(names="class")
    section = Section("Classes", f"{_imbalance(totals)} {_SPLIT_WORDS}")
    splits = counts.sum().to_frame("pictures")
    section.add(charts.bars(splits[splits["pictures"] > 0], title="Pictures a split"))
    section.add(page.note(_where_from(brought, [str(name) for name in splits.index[splits["pictures"] > 0]])))
    if too_small:
        say = f"Classes with too few pictures to be in every split: {first_few(too_small)}. Training stops at them"
        section.add(page.note(f"{say} unless data.small_classes=train_only or drop.", "bad"))
    if table.empty_folders:
        say = f"Folders without a picture: {first_few(table.empty_folders)}. Training stops at them"
        section.add(page.note(f"{say} unless data.on_unreadable=skip.", "bad"))
    if len(totals) <= _MOST_BARS:
        section.add(charts.bars(used.loc[totals.index], title="Pictures a class"))
    else:
        foot = f"{len(totals):,} classes, the largest first"
        section.add(charts.profile(totals.to_numpy(), title="Pictures a class", foot=foot))
        ends = [
            charts.bars(used.loc[some.index], title=f"The {len(some)} {which}")
            for which, some in (("largest", totals.head(12)), ("smallest", totals.tail(12)))
        ]
        section.add(*ends)
    some = listing.sort_values(["all", "class"], ascending=[True, True])
    words = "Every class, and the weight that makes classes count alike (loss=weighted)"
    return section.add(page.details(words, page.table(some, most=500)))


def _where_from(brought: tuple[str, ...], there: list[str]) -> str:
    """Which splits the set brought, and which were dealt."""
    came, dealt = ([name for name in there if (name in brought) == own] for own in (True, False))
    said = [f"the set brings its own {_listed(came)}"] if came else []
    said += [f"{_listed(dealt)} {'was' if len(dealt) == 1 else 'were'} dealt (data.split)"] if dealt else []
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[:-1] else []), *names[-1:]])


def _imbalance(totals: pd.Series) -> str:
    largest, smallest = int(totals.iloc[0]), max(1, int(totals.iloc[-1]))
    ratio = largest / smallest
    advice = "loss=weighted evens that out." if ratio >= 3 else "No weights are needed."
    share = largest / max(1, totals.sum())
    return (
        f"The largest class has {ratio:.1f} times the pictures of the smallest. {advice} "
        f"Always answering “{totals.index[0]}” would be right {share:.1%} of the time."
    )


def taxonomy(table: PictureTable) -> list[Section]:
    """Pictures and classes by the upper ranks, where a taxonomy is there."""
    if table.taxonomy is None:
        return []
    known = table.taxonomy.reset_index(drop=True).astype("object").fillna("(unknown)")
    known["pictures"] = class_counts(table).sum(axis=1).to_numpy()
    section = Section("Taxonomy", "Pictures by kingdom and by phylum, and how many classes each holds.")
    upper = [rank for rank in RANKS[:2] if rank in known]
    for rank in upper:
        by = known.groupby(rank, dropna=False)["pictures"].sum().sort_values(ascending=False)
        section.add(charts.bars(by.head(_MOST_RANK_BARS).to_frame(), title=f"Pictures by {rank}"))
    if upper:
        grouped = known.groupby(upper, dropna=False)["pictures"].agg(["size", "sum"]).reset_index()
        section.add(page.table(grouped.rename(columns={"size": "classes", "sum": "pictures"})))
    else:
        ranks = pd.DataFrame({"rank": known.columns[:-1], "groups": [known[r].nunique() for r in known.columns[:-1]]})
        section.add(page.table(ranks))
    return [section]


def trouble(found: Survey) -> Section:
    """What cannot be read, and what is odd."""
    facts = found.facts.assign(path=found.table.rows["path"].to_numpy()[found.facts["row"]])
    broken, odd = unreadable(found.table, found.facts), facts[facts["odd"] != ""]
    section = Section("Unreadable and odd files")
    if broken.empty:
        section.add(page.note("Every picture opened could be decoded to its end.", "good"))
    else:
        section.add(
            page.note(
                f"{len(broken):,} cannot be read; training stops at them unless data.on_unreadable=skip.",
                "bad",
            )
        )
        section.add(page.table(broken))
    if len(odd):
        kinds = odd["odd"].str.split(", ").explode().value_counts().to_frame("pictures")
        section.add(charts.bars(kinds, title="Odd, but readable"))
        section.add(page.details("Which files", page.table(odd[["path", "odd", "width", "height"]])))
    left_out = pd.DataFrame(found.table.skipped.items(), columns=["path", "left out because it"])
    return section.add(page.table(left_out)) if len(left_out) else section


def same(found: Survey) -> Section:
    """Copies, and those that are leaks."""
    how = (
        "Exact copies are one file twice. Near copies look alike, also where one is mirrored or cropped: their "
        f"perceptual hashes (pHash, 64 bits) differ in at most {found.distance} bits."
    )
    section = Section("Copies and leaks", how)
    leaks, alike = found.leaks, found.alike
    if leaks.empty:
        section.add(page.note("No picture is in two splits or under two labels.", "good"))
    else:
        torn = int((leaks["leak"] != "label").sum())
        if torn:
            section.add(page.note(f"{counted(torn, 'leak')}: the same picture in two splits. Scores flatter.", "bad"))
        if torn < len(leaks):
            conflicts = counted(len(leaks) - torn, "label conflict")
            say = f"{conflicts}: the same picture under two labels in one split. One of the two is wrong."
            section.add(page.note(say, "bad"))
        if torn and found.mended:
            section.add(page.note(_REMEDY), page.command(shlex.quote(f"data.split.file={found.mended}")))
        rows = found.table.rows_of([*leaks["path"], *leaks["other_path"]])
        section.add(survey_pictures.pairs(leaks, rows, found.jpegs, "in leaks.csv"))
        section.add(page.details("As a table", page.table(_leak_rows(leaks))))
    kinds = alike.groupby("kind").agg(groups=("group", "nunique"), pictures=("row", "size")).reset_index()
    paths = found.table.rows["path"].to_numpy()
    listing = alike.assign(path=paths[alike["row"]])[["group", "kind", "path"]]
    section.add(page.table(kinds))
    return section.add(page.details("All groups", page.table(listing, most=400))) if len(alike) else section


def alike_to_a_network(found: Survey) -> list[Section]:
    """Pictures that are no copies, and yet alike by features, where some were given."""
    if found.resembling is None:
        return []
    rows = found.table.rows_of([*found.resembling["path"], *found.resembling["other_path"]])
    return [survey_pictures.resembling(found.resembling, found.near_cosine, rows, found.jpegs)]


_REMEDY = (
    "Delete one of each pair, or keep a specimen's pictures together with data.split.group=COLUMN, or add this to "
    "your command: the same split with all copies moved to train."
)


def _leak_rows(leaks: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame({"differ in": leaks["leak"], "how alike": leaks["kind"]})
    for side, prefix in (("one", ""), ("other", "other_")):
        shown[side] = leaks[f"{prefix}path"] + "  (" + leaks[f"{prefix}split"] + ", " + leaks[f"{prefix}label"] + ")"
    return shown


def shapes(found: Survey) -> Section:
    """Sizes, shapes, formats."""
    facts = found.facts[found.facts["problem"] == ""]
    section = Section("Sizes and shapes", f"Training shows squares of {found.image_size} pixels (data.image_size).")
    if facts.empty:
        return section
    width, height = facts["width"].to_numpy(float), facts["height"].to_numpy(float)
    shorter = np.minimum(width, height)
    small = float((shorter < found.image_size).mean())
    section.add(page.note(f"{small:.0%} have a side shorter than that and are enlarged."))
    section.add(page.side_by_side(
        charts.histogram(width, title="Width", unit=" px"), charts.histogram(height, title="Height", unit=" px"),
        charts.histogram(width / height, title="Width by height", log=True),
        charts.histogram(facts["bytes"].to_numpy(float) / 1000, title="File size", unit=" kB", log=True),
    ))  # fmt: skip
    kinds = facts.groupby(["format", "mode"]).size().sort_values(ascending=False)
    kinds.index = pd.Index([f"{kind}, {mode}" for kind, mode in kinds.index])
    return section.add(charts.bars(kinds.to_frame("pictures"), title="Formats and colour modes"))


def odd_ones(found: Survey) -> list[Section]:
    """Pictures far from all others in size, shape or colour."""
    if found.odd.empty:
        return []
    lead = "Far from all others in size, shape, brightness or colour. Look whether they show what they should."
    section = Section("Odd pictures", lead)
    return [section.add(survey_pictures.odd(found.odd, found.table.rows["path"], found.jpegs))]


def augmented(found: Survey) -> list[Section]:
    """What training makes of pictures."""
    if not found.augmented:
        return []
    name, options = found.augmentation
    section = Section("As training sees them", f"augmentation={name}: a new random change in every epoch.")
    section.add(*[page.note(line) for line in survey_pictures.what_it_assumes(name, options)])
    return [section.add(survey_pictures.augmented(found.augmented))]


def colours(found: Survey) -> Section:
    """Mean and deviation of the channels, beside ImageNet's."""
    measured = channel_statistics(found.facts).reset_index(names="channel")
    measured["ImageNet mean"], measured["ImageNet std"] = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    lead = (
        f"Over all pixels at {found.image_size} pixels a side, values 0 to 1. Weights trained on ImageNet "
        "want ImageNet's figures, whatever yours are; these matter when training from scratch."
    )
    return Section("Colours", lead).add(page.table(measured))


def metadata(table: PictureTable, proposed: Proposal | None = None) -> list[Section]:
    """A map where there are coordinates; bars or a histogram of each further column; how names would make more."""
    rows, parts = table.rows, list[Markup]()
    if proposed:
        parts += [page.note(f"The pictures' names agree: {proposed.said}. This makes columns of it:"),
                  page.command(shlex.quote(f"data.from_path={proposed.pattern}"))]  # fmt: skip
    if {"latitude", "longitude"} <= set(rows):
        where = rows[["latitude", "longitude"]].apply(pd.to_numeric, errors="coerce").dropna()
        where = where[(where["latitude"].abs() <= 90) & (where["longitude"].abs() <= 180)]
        parts.append(page.note(f"{len(where):,} of {counted(len(rows), 'picture')} say where they were taken."))
        some = where.sample(min(len(where), _MOST_DOTS), random_state=0)
        drawn = "" if len(some) == len(where) else f" ({len(some):,} of them, by chance)"
        parts.append(charts.world(*some.to_numpy().T, title=f"Where pictures were taken{drawn}"))
    parts += _against_classes(table)
    for name in rows.columns.drop([column for column in _OWN_COLUMNS if column in rows]):
        parts.append(_column(rows[name], str(name)))
    shown = [part for part in parts if part]
    return [Section("Metadata", "What is known beside the pictures.", shown)] if shown else []


def _against_classes(table: PictureTable) -> list[Markup]:
    """Which columns give the class away, and which differ between train and the rest."""
    report = column_report(table.with_rows(table.rows.drop(columns="bytes", errors="ignore")))
    if report.empty:
        return []
    parts = []
    for row in report.to_dict("records"):
        name = row["column"]
        if row["guess"] - row["majority"] > _TELLING * (1 - row["majority"]):
            parts.append(page.note(
                f"{name} alone guesses the class in {row['guess']:.0%} of cases (without it {row['majority']:.0%}): a "
                f"network may learn what goes with {name} in place of the class. This tests on values that training "
                "never saw, where each class has several:", "bad",
            ))  # fmt: skip
            parts.append(page.command(shlex.quote(f"data.split.group={name}")))
        if row["differs"] > _DIFFERENT and row["p"] < _BY_ACCIDENT:
            parts.append(page.note(f"{name} differs between train and the pictures held out.", "bad"))
    shown = report.assign(**{key: (100 * report[key]).round(1) for key in ("guess", "majority", "shared")})
    return [*parts, page.table(shown.rename(columns=_COLUMN_WORDS))]


_TELLING, _DIFFERENT, _BY_ACCIDENT = 0.3, 0.2, 0.001
_COLUMN_WORDS = {
    "guess": "class guessed from it (%)",
    "majority": "without it (%)",
    "shared": "held out with values of train (%)",
    "differs": "split and value (Cramér's V)",
}


def _column(values: pd.Series, name: str) -> Markup:
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _MOST_RANK_BARS:
        return charts.histogram(values.to_numpy(float), title=name)
    texts = values.map(str, na_action="ignore")
    counts = texts.value_counts(dropna=False)
    if len(counts) > len(values) / 2 and len(counts) > _MOST_RANK_BARS:
        return page.note(f"{name}: {len(counts):,} different values.")
    title = name if len(counts) <= _MOST_RANK_BARS else f"{name}: the {_MOST_RANK_BARS} commonest of {len(counts):,}"
    named = counts.head(_MOST_RANK_BARS).rename(index=lambda key: "(none)" if pd.isna(key) else str(key))
    return charts.bars(named.to_frame("pictures"), title=title)


def samples(found: Survey) -> Section:
    """Thumbnails."""
    jpegs, captions = [one for one, _ in found.thumbnails], [words for _, words in found.thumbnails]
    lead = "Drawn by chance, from as many classes as there is room for, as training sees them before augmentation."
    return Section("Sample pictures", lead).add(page.pictures(jpegs, captions))
