import pytest

from pipeline.experiment.forecast import Forecast
from pipeline.web.jobs.forecast import foretold


@pytest.mark.parametrize(
    ("forecast", "figures"),
    [
        (Forecast("", 22, {}, 1.4e9, 0, 13e6, 18e6),
         {"time": "22 s", "memory": "1.4 GB", "disk": "13 MB", "meanwhile": "18 MB"}),
        (Forecast("", 4e7, {}, 1400.4e9, 80e9, 13e6, 18e6, {"a": 2e12}),
         {"time": "11,111.1 h", "memory": "1,400.4 GB", "gpu": "80.0 GB", "disk": "2,000.0 GB", "meanwhile": "18 MB"}),
    ],
)  # fmt: skip
def test_each_figure_of_a_forecast_is_found_in_its_line(forecast, figures):
    assert foretold(f"weights kept\n{forecast.told()}\n") == figures
    assert foretold("no forecast") == {}
