import numpy as np
import pandas as pd

from pipeline.data.survey.outliers import outliers


def facts(many: int = 60) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    mean = np.clip(chance.normal(0.5, 0.05, (many, 3)), 0, 1)
    return pd.DataFrame({
        "row": range(100, 100 + many),
        "width": chance.integers(400, 600, many),
        "height": chance.integers(400, 600, many),
        "mean": list(mean),
        "square": list(mean**2 + chance.uniform(0.03, 0.05, (many, 3))),
        "problem": "",
    })  # fmt: skip


def test_the_odd_ones_are_found_and_named() -> None:
    made = facts()
    made.at[3, "mean"] = red = np.array([0.99, 0.02, 0.02])
    made.at[3, "square"] = red**2 + 0.04
    made.loc[7, ["width", "height"]] = [20_000, 30]
    made.at[9, "problem"] = "is cut short"
    found = outliers(made)
    assert found["row"].tolist()[:2] == [107, 103]
    assert found["why"].tolist()[:2] == ["very wide", "very red"]
    assert 109 not in found["row"].tolist()


def test_pictures_all_alike_or_few_have_no_odd_ones() -> None:
    alike = pd.concat([facts(1)] * 50, ignore_index=True)
    assert outliers(alike).empty
    assert outliers(facts(5)).empty
