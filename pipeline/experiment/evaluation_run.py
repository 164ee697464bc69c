"""An evaluation as a run in MLflow, beside the run it is of."""

import logging

from pipeline.common.errors import BadInput
from pipeline.config.defaults import flatten
from pipeline.evaluation.assessment import Assessment
from pipeline.evaluation.familiar import write_familiar
from pipeline.evaluation.unknown import Told
from pipeline.experiment.photographs import leave_mistakes
from pipeline.experiment.question import NETWORK, STORED, Heard, Question
from pipeline.predictions.parquet import write_predictions
from pipeline.predictions.predictions import Predictions
from pipeline.reporting.assessment import write_assessment
from pipeline.serving.known import FILE
from pipeline.tracking.finished import label, taxonomy_of
from pipeline.tracking.runs import git_sha, tracked_run

log = logging.getLogger("pipeline.evaluate")


def keep(
    question: Question, heard: Heard, answered: Predictions, found: Assessment, unseen: Told | None,
    changes: dict[str, float],
) -> None:  # fmt: skip
    """The evaluation as an MLflow run beside the run it is of; `unseen`: what was told of pictures of other classes."""
    config, split, of = question.config, question.split, question.run
    raw, source, looks = heard
    params = flatten(config.model_dump(mode="json", include={"run", "model", "checkpoint", "evaluation"}))
    tags = {
        "stage": "evaluate", "evaluated_run": of.info.run_id, "model": of.data.tags.get("model", ""),
        "data": question.name, "split": split, "source": source, "git_sha": git_sha(),
    }  # fmt: skip
    if source == NETWORK:
        tags["evaluation_key"] = question.key(split)
    name = f"evaluate {of.info.run_name} on {split} of {question.name}"[:250]
    experiment = question.client.get_experiment(of.info.experiment_id).name
    with tracked_run(experiment, name=name, tags=tags, params=params | {"split": split}) as run:
        if len(answered):
            write_assessment(run.folder, split, answered, found, taxonomy_of(of))
        if source == NETWORK and looks is not None:
            noted = {f"{split}.{name}": array for name, array in looks._asdict().items()}
            write_familiar(run.folder / "predictions" / FILE, None, noted)
        if unseen is not None:
            unseen.write(run.folder)
            run.log_metrics(unseen.figures)
        if raw is not answered:  # what the network said of each picture can be asked again, pooled or not
            file = run.folder / "predictions" / f"{split}.parquet"
            file.rename(file.with_stem(f"{split}_pooled"))
            write_predictions(raw, file)
        try:
            shown = raw if raw is answered else question.still_there(raw)
            # What was answered then is shown beside what was seen then; what is answered now, beside what is there now.
            pictures = question.own_pictures.unedited if source == STORED else question.table
            members = question.networks() if config.tracking.heat_maps else ()
            if len(shown):
                leave_mistakes(run, label(of), split, shown, pictures, members)
        except BadInput as error:  # the pictures are gone, say; what was answered of them stands
            log.info("no page of mistakes: %s", error)
        run.log_metrics({f"{split}/{key}": value for key, value in found.figures.items()} | changes)
        if found.temperature is not None:
            run.log_metrics({"temperature": found.temperature})
        log.info("in MLflow: %s (%s), with plots and tables in %s", run.name, run.id, run.folder)
