"""Comparable runs with all that is read off them: their ranking, how sure it is, what mattered, in sentences too."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.wording import counted, p_value, percent, signed
from pipeline.comparison.by_class import class_differences, error_by_training_size
from pipeline.comparison.certainty import corrected_best, pairwise_tests
from pipeline.comparison.effects import JOIN, effects, grid, varied
from pipeline.comparison.entrants import Entrant
from pipeline.comparison.ranking import Ranking, Row, rank
from pipeline.config.keys import REPEATS

CERTAIN = 0.05


@dataclass(frozen=True)
class Group:
    """Runs on the same pictures, newest first.

    The first `most` rows, its leaders, are looked at more closely. `why_apart` says why these runs are not ranked
    with the first group. `histories` has the best rows' learning curves, `by_rank` accuracies (val, test) by rank of
    the taxonomy and row, `trained` how many pictures of each class the best row trained on, `columns` what rows that
    are given columns beside pictures are without these (`accuracy`, `behind`, `low`, `high`, `p`): what is read from
    the store, and filled in there.
    """

    entrants: list[Entrant]
    most: int
    why_apart: str = ""
    histories: dict[str, pd.DataFrame] = field(default_factory=dict)
    by_rank: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    trained: dict[str, int] = field(default_factory=dict)
    columns: dict[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def ranking(self) -> Ranking:
        """Its rows, best by val first."""
        return rank(self.entrants)

    @property
    def leaders(self) -> list[Row]:
        """The best rows."""
        return self.ranking.rows[: self.most]

    @property
    def answers(self) -> list[str]:
        """The choices in which its rows differ."""
        return list(self.ranking.rows[0].answers) or ["run"]

    @property
    def has_test(self) -> bool:
        """Whether every row was scored on test."""
        table = self.ranking.table
        return "test_accuracy" in table and bool(table["test_accuracy"].notna().all())

    @property
    def digits(self) -> int:
        """How many decimals of a percentage the pictures allow."""
        return 2 if self.ranking.table["n_val"].max() >= 10_000 else 1

    @cached_property
    def baseline(self) -> dict[str, Any]:
        """What always answering val's most frequent `class` would score: `val_accuracy`, `test_accuracy`."""
        first = self.entrants[0]
        code = int(np.bincount(first.val.labels).argmax())
        found: dict[str, Any] = {"class": first.classes[code], "classes": len(first.classes)}
        for split in ("val", "test"):
            scores = {score.pictures: score for one in self.entrants if (score := one.on(split))}
            if scores:
                labels = np.concatenate([one.labels for one in scores.values()])
                found[f"{split}_accuracy"] = float((labels == code).mean())
        return found

    @cached_property
    def tests(self) -> dict[str, pd.DataFrame]:
        """The leaders in pairs, by split."""
        splits = ("val", "test") if self.ranking.rows[0].first.test else ("val",)
        return {split: pairwise_tests(self.leaders, split) for split in splits}

    @property
    def test_name(self) -> str:
        """Which test sets the leaders against each other."""
        return "McNemar" if "only_one" in self.tests["val"] else "corrected resampled t-test"

    @cached_property
    def corrected(self) -> float | None:
        """The best row's val accuracy without the luck of having been chosen."""
        return corrected_best(self.ranking.rows)

    @property
    def shown_split(self) -> str:
        """The split on which classes are looked at: test, where there is one."""
        return "test" if self.has_test else "val"

    @cached_property
    def class_differences(self) -> pd.DataFrame:
        """The two best rows class by class, the largest difference first; empty where they cannot be set so."""
        rows = self.ranking.rows[:2]
        if len(rows) < 2 or not all(map(_one_partition, rows)):
            return pd.DataFrame()
        return class_differences(rows[0].first, rows[1].first, self.shown_split)

    @cached_property
    def by_training_size(self) -> pd.DataFrame:
        """The best row's share of wrong answers by class, beside how many pictures of it were trained on."""
        if not self.trained or not _one_partition(self.ranking.rows[0]):
            return pd.DataFrame()
        return error_by_training_size(self.ranking.rows[0].first, self.shown_split, self.trained)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run: its choices, `val accuracy` and costs, as `pipeline.comparison.effects` takes them."""
        rows = []
        for row in self.ranking.rows:
            for one in row.runs:
                repeats = {key: one.choices.get(key, "") for key in REPEATS}
                own = {name: one.choices.get(f"{name}.name", "").rpartition("/")[2] for name in ("model", "regime")}
                rows.append(own | row.answers | repeats | {"val accuracy": one.val.figures["accuracy"], **one.cost})
        return pd.DataFrame(rows)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Which choice mattered, seeds beside them as the measure of chance."""
        return effects(self.runs, [*self.ranking.rows[0].answers, *REPEATS], "val accuracy")

    @property
    def grid(self) -> pd.DataFrame | None:
        """Val accuracy by network and regime, where either varies."""
        return grid(self.runs, "val accuracy") if varied(self.runs, ["model", "regime"]) else None

    def pairs(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The tested pairs with their figures by split; the one ahead on val is named first."""
        place = {row.name: number for number, row in enumerate(self.ranking.rows)}
        found: dict[tuple[str, ...], dict[str, Any]] = {}
        for split, tests in self.tests.items():
            for test in tests.to_dict("records"):
                pair = tuple(sorted((test["one"], test["other"]), key=place.__getitem__))
                found.setdefault(pair, {})[split] = test
        order = sorted(found, key=lambda pair: [place[name] for name in pair])
        return [(pair[0], pair[1], found[pair]) for pair in order]

    def findings(self) -> list[str]:
        """The comparison in a few sentences."""
        table = self.ranking.table
        said = f"Best on val: {table['name'].iloc[0]}, {self._beside_chance('val')}"
        if self.has_test:
            said += f"; on test {self._beside_chance('test')}"
        lines = [f"{said}."]
        if self.corrected is not None:
            at_once = self.histories and all(len(history) < 2 for history in self.histories.values())
            lines.append(
                f"Corrected for its being the best of {len(table)} on these pictures, its val accuracy is "
                f"about {percent(self.corrected, self.digits)}"
                + ("." if at_once else "; that val chose each run's epoch too still flatters it.")
            )
        if len(table) > 1:
            lines.append(self._certainty(str(table["name"].iloc[0])))
        lines += [self._without_columns(name, told) for name, told in self.columns.items()]
        if again := sum(one.choices.get("trainer.refit") == "True" for one in self.entrants):
            lines.append(
                f"{counted(again, 'run')} fitted once more on train and val: figures of val are from before, those of "
                "test are not."
            )
        return lines + self._what_mattered()

    def _without_columns(self, name: str, told: pd.DataFrame) -> str:
        """What a row is by the picture, and what by the column."""
        without, alone = told.loc["without"], told.loc["alone"]
        ends = ", ".join(signed(-without[end]) for end in ("high", "low"))
        return (
            f"{name}: without its columns it is right in {percent(without['accuracy'], self.digits)} of "
            f"{told['split'].iloc[0]} ({signed(-without['behind'])} points [{ends}]); the columns alone in "
            f"{percent(alone['accuracy'], self.digits)}."
        )

    def _beside_chance(self, split: str) -> str:
        """The best row's accuracy beside what the most frequent class would score on the same pictures."""
        best, digits = self.ranking.table.iloc[0], self.digits
        said = percent(best[f"{split}_accuracy"], digits)
        if best["splits"] > 1:
            low, high = (f"{100 * best[f'{split}_{end}']:.{digits}f}" for end in ("min", "max"))
            said += f" as the mean of {best['splits']:.0f} splits ({low} to {high})"
        return f"{said} (always {self.baseline['class']}: {percent(self.baseline[f'{split}_accuracy'], digits)})"

    def _certainty(self, best: str) -> str:
        """Whether the leader is really ahead of the others."""
        tests = self.tests["val"]
        rivals = tests[(tests["one"] == best) | (tests["other"] == best)]
        if rivals.empty:
            return "Its rivals were scored on other pictures: no paired test can be made."
        level = int((rivals["p_holm"] >= CERTAIN).sum())
        how = f"({self.test_name}, Holm; largest p {p_value(float(rivals['p_holm'].max()))})"
        if not level:
            ahead = f"its {len(rivals)} nearest rivals" if len(rivals) > 1 else "its only rival"
            return f"On val it is ahead of {ahead} by more than chance {how}."
        how_many = f"{level} of its {len(rivals)} nearest rivals" if len(rivals) > 1 else "its only rival"
        return f"On val {how_many} cannot be told from it {how}."

    def _what_mattered(self) -> list[str]:
        """The choice with the largest effect, beside what seeds alone do."""
        by_choice = self.effects.drop_duplicates("choice").set_index("choice")["range"]
        chance = by_choice[[set(key.split(JOIN)) <= set(REPEATS) for key in by_choice.index]]
        choices = by_choice.drop(chance.index)
        if choices.empty:
            return []
        first, found = choices.index[0], float(choices.iloc[0])
        if round(100 * found, 1) == 0 and chance.empty:
            return ["No choice made a difference."]
        answers = self.effects[self.effects["choice"] == first]
        top = answers.loc[answers["effect"].idxmax(), "answer"]
        line = f"What mattered most: {first} ({100 * found:.1f} points between its best and worst answer; {top} is best"
        if not chance.empty:
            said = "no more than" if found <= chance.max() else "against"
            line += f"; {said} the {100 * chance.max():.1f} of {chance.idxmax()}, which is chance"
        if JOIN in first:
            line += "; what each of these did cannot be told, as they vary only together"
        return [f"{line})."]


def _one_partition(row: Row) -> bool:
    """Whether its runs differ by chance alone: of several splits or folds no single run stands for the others."""
    return len({one.partition for one in row.runs}) == 1
