"""Which runs an ensemble is made of: those of an experiment or a sweep, a filter's, the best of them, or by id."""

from collections import Counter
from collections.abc import Sequence

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.ensembles.report import STRATEGIES
from pipeline.tracking.selection import by_metric, find_experiment, find_run, trained_runs

_SHOWN_KEYS, _SHOWN_VALUES, _LONGEST_VALUE = 4, 4, 40


def find_members(client: MlflowClient, config: schema.Ensemble) -> dict[str, Run]:
    """The runs asked for, best first, by names that tell them apart, from strategies too."""
    if config.runs is None:
        runs = chosen_members(client, config)
    else:
        for key in ("sweep", "filter", "best"):
            if getattr(config, key) is not None:
                raise BadInput(f"runs= names the members; leave {key}= out")
        runs = named_members(client, config.runs)
    return dict(zip(member_names(runs, [*STRATEGIES, "soup"]), runs, strict=True))


def chosen_members(client: MlflowClient, config: schema.Ensemble) -> list[Run]:
    """The finished training runs of an experiment, best first: of one sweep, those that MLflow's filter matches, the
    `best` so many by a metric.

    Raises BadInput where nothing is left, with filters that would match.
    """
    sweep, where, metric = config.sweep, config.filter, config.metric
    experiment = find_experiment(client, config.tracking.experiment, sweep)
    runs = trained_runs(client, experiment, sweep)
    place = f"sweep {sweep} of {experiment.name}" if sweep else f"experiment {experiment.name}"
    if not runs:
        raise BadInput(f"{place} has no finished training run: train first, with python -m pipeline.train -m")
    if where:
        matching = _matching(experiment, where)
        kept = [run for run in runs if run.info.run_id in matching]
        if not kept:
            raise BadInput(f"filter={where} matches none of the {len(runs)} runs of {place}; {would_match(runs)}")
        runs = kept
    scored = [run for run in by_metric(runs, metric) if metric in run.data.metrics]
    if not scored:
        raise BadInput(f"metric={metric}: no run of {place} has it; the default is best/val_accuracy")
    return scored[: config.best]


def named_members(client: MlflowClient, run_ids: Sequence[str]) -> list[Run]:
    """The runs of these ids. BadInput for one that is not there, did not finish, or is named twice."""
    for run_id, times in Counter(run_ids).items():
        if times > 1:
            raise BadInput(f"runs: {run_id} is named {times} times")
    runs = [find_run(client, run_id, f"runs: {run_id}", ("train",)) for run_id in run_ids]
    for run in runs:
        if run.info.status != "FINISHED":
            raise BadInput(f"runs: {run.info.run_id} did not finish ({run.info.status.lower()}): leave it out")
    return runs


def would_match(runs: Sequence[Run]) -> str:
    """Filters that match some of the runs, after the parameters in which they differ."""
    keys = sorted({key for run in runs for key in run.data.params})
    offers = []
    for key in keys:
        values = sorted({run.data.params[key] for run in runs if key in run.data.params})
        if 1 < len(values) <= _SHOWN_VALUES and max(map(len, values)) <= _LONGEST_VALUE:
            offers.append((key != "model.name", key, values))
    if not offers:
        one = runs[0].data.params.get("model.name", "")
        return f"params.model.name = '{one}' would"
    shown = [f"params.{key} = '{values[0]}' (or {', '.join(values[1:])})" for _, key, values in sorted(offers)]
    return "these would match: " + "; ".join(shown[:_SHOWN_KEYS])


def member_names(runs: Sequence[Run], taken: Sequence[str] = ()) -> list[str]:
    """The runs' names, with a piece of the id where a name is not alone."""
    names = [run.info.run_name or run.info.run_id for run in runs]
    counts = Counter([*names, *taken])
    return [
        name if counts[name] == 1 else f"{name} ({run.info.run_id[:8]})" for name, run in zip(names, runs, strict=True)
    ]


def _matching(experiment: Experiment, where: str) -> set[str]:
    try:
        runs = mlflow.search_runs([experiment.experiment_id], where, output_format="list")
    except MlflowException as error:
        said = " ".join(str(error).split()).removeprefix("INVALID_PARAMETER_VALUE: ")
        raise BadInput(
            f"filter={where}: MLflow cannot read it ({said[:160]}); an example: params.head.name = 'mlp'"
        ) from None
    return {run.info.run_id for run in runs if isinstance(run, Run)}
