"""The registry: one registered model an experiment, the alias of the version that serves, loading by address."""

import base64
import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from difflib import get_close_matches
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType
from PIL import Image

from pipeline.common.atomic import temporary_files_cleared
from pipeline.common.errors import BadInput
from pipeline.common.wording import counted
from pipeline.models.saved import BEST_WEIGHTS, FIRST_MEMBER, MODEL_FACTS
from pipeline.tracking.places import local_folder
from pipeline.tracking.selection import find_run
from pipeline.tracking.twins import claimed

_PACKAGE = Path(__file__).resolve().parent.parent
# What answering needs; exact versions, so that a server elsewhere answers the same.
_NEEDS = (
    "mlflow",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "pillow",
    "simplejpeg",
    "safetensors",
    "skops",
    "matplotlib",
    "captum",
)
_CLASSES_TAG, _ADDED_TAG = "classes_digest", "classes_added"
_TYPE = "classifier"
_LONGEST = 5000  # characters: more is no description to MLflow's database
_NAMED = 20  # models or classes, in a message


def publish(
    folder: Path,
    run: Run,
    metrics: dict[str, float],
    *,
    name: str,
    alias: str,
    classes: tuple[str, ...],
    description: str = "",
) -> ModelVersion:
    """Log a served model's folder as a model of its run, register it as the newest version, give that the alias.

    The `description`, Markdown of at most 5,000 characters, is the version's.
    Whatever fails on the way, an interruption too, what was made up to there is taken back; after a kill by the next
    call for the same run, so that only one is at it at a time on one machine. Raises BadInput where what
    is served by now knows a class that this does not: who asks by the alias must get labels that are known there.
    Classes may be added, which the version then says.
    """
    client = MlflowClient()
    digest = _digest(classes)
    before = versions_of(client, name)
    added, to = added_classes(client, name, alias, before or [], classes)
    if added:
        description = f"Adds {counted(len(added), 'class')} to version {to}: {_some(added)}.\n\n{description}"[
            :_LONGEST
        ]
    with claimed(run.info.experiment_id, "publish", run.info.run_id), ExitStack() as undo:
        for left in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"):
            if left.model_type == _TYPE and left.status == LoggedModelStatus.PENDING:
                _withdraw_model(client, left)  # of a process that was killed
        model = mlflow.initialize_logged_model(
            "served", source_run_id=run.info.run_id, experiment_id=run.info.experiment_id, model_type=_TYPE
        )
        undo.callback(_withdraw_model, client, model)
        with temporary_files_cleared():  # MLflow copies the weights once more on their way
            log_served_model(model.model_id, folder, run, metrics)
        undo.callback(_withdraw_version, client, name, model, new=before is None)
        tags = {_CLASSES_TAG: digest} | ({_ADDED_TAG: _some(added), "adds_to": to} if added else {})
        made = mlflow.register_model(f"models:/{model.model_id}", name, tags=tags)
        client.update_model_version(name, made.version, description)
        client.set_registered_model_alias(name, alias, made.version)
        undo.pop_all()
    return made


def _withdraw_model(client: MlflowClient, model: LoggedModel) -> None:
    with suppress(MlflowException):
        client.delete_logged_model(model.model_id)
    files = local_folder(model.artifact_location)
    if files is not None:
        shutil.rmtree(files, ignore_errors=True)


def _withdraw_version(client: MlflowClient, name: str, model: LoggedModel, *, new: bool) -> None:
    """Delete the version that a logged model became, and a registered model that is new and holds nothing else."""
    with suppress(MlflowException):
        others = False
        for one in versions_of(client, name) or []:
            if one.source == f"models:/{model.model_id}":
                client.delete_model_version(name, one.version)
            else:  # of another process, perhaps
                others = True
        if new and not others:
            client.delete_registered_model(name)


def log_served_model(model_id: str, folder: Path, run: Run, metrics: dict[str, float]) -> None:
    """Log a served model's folder under a logged model's id.

    The package's code travels with it, so it loads where the repository is not.
    """
    mlflow.pyfunc.log_model(
        name="served",
        model_id=model_id,
        python_model=str(_PACKAGE / "serving" / "pyfunc.py"),
        artifacts={"served": str(folder)},
        code_paths=[str(_PACKAGE)],
        pip_requirements=[f"{package}=={version(package).partition('+')[0]}" for package in _NEEDS],
        signature=signature(json.loads((folder / MODEL_FACTS).read_text(encoding="utf-8")).get("columns")),
        input_example=(
            example(),
            {
                "top_k": 2,
                "coverage": 0.0,
                "min_probability": 0.0,
                "error": 0.0,
                "only": [],
                "known_sent_away": 0.0,
                "explain": False,
                "together": False,
            },
        ),
    )
    client = MlflowClient()
    for name, value in metrics.items():
        client.log_metric(run.info.run_id, name, value, model_id=model_id)


def signature(beside: Mapping[str, str] | None = None) -> ModelSignature:
    """A column of pictures and what is asked of them in (0: not asked for); one object a picture out, or one of all.

    `beside`: further columns with their types, which a request may leave out.
    """
    further = [ColSpec(DataType[kind], name, required=False) for name, kind in (beside or {}).items()]
    return ModelSignature(
        # Base64 text, though bytes pass too: of a binary column MLflow would decode it, and spoil a data: address.
        inputs=Schema([ColSpec("string", "image"), *further]),
        outputs=Schema([ColSpec(AnyType())]),  # type: ignore[no-untyped-call]
        params=ParamSchema(
            [
                ParamSpec("top_k", "long", 5),
                ParamSpec("coverage", "double", 0.0),
                ParamSpec("min_probability", "double", 0.0),
                ParamSpec("error", "double", 0.0),
                ParamSpec("only", "string", [], (-1,)),
                ParamSpec("known_sent_away", "double", 0.0),
                ParamSpec("explain", "boolean", False),
                ParamSpec("together", "boolean", False),
            ]
        ),
    )


def example() -> pd.DataFrame:
    """A grey picture, so that the form of a request can be seen and tried."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, "JPEG")
    return pd.DataFrame({"image": [base64.b64encode(buffer.getvalue()).decode()]})


def versions_of(client: MlflowClient, name: str) -> list[ModelVersion] | None:
    """A registered model's versions; None where there is no such model."""
    try:
        client.get_registered_model(name)
    except MlflowException:
        return None
    return list(client.search_model_versions(f"name = '{name}'"))


def added_classes(
    client: MlflowClient, name: str, alias: str, versions: list[ModelVersion], classes: Sequence[str]
) -> tuple[list[str], str]:
    """Which classes are new beside those of the version that has the alias (else of the newest), and that version.

    Raises BadInput where one of that version's is missing.
    """
    if not versions:
        return [], ""
    number = client.get_registered_model(name).aliases.get(alias)
    newest = max(versions, key=lambda one: int(one.version))
    serving = next((one for one in versions if str(one.version) == str(number)), newest)
    if serving.tags.get(_CLASSES_TAG) == _digest(classes):
        return [], str(serving.version)
    known = classes_of(f"models:/{name}/{serving.version}")
    if missing := [one for one in known if one not in set(classes)]:
        raise BadInput(
            f"the registered model {name} (version {serving.version}) answers with other classes, such as "
            f"{missing[0]}{renamed(missing[0], known, classes)}: a version may add classes, not lose any; train with "
            "all of them or under another tracking.experiment, or delete the old versions in the MLflow UI"
        )
    return [one for one in classes if one not in set(known)], str(serving.version)


def renamed(missing: str, known: Sequence[str], classes: Sequence[str]) -> str:
    """What a class of `known` that `classes` lack may be called there, in brackets; "" where nothing is near."""
    plain = {"".join(filter(str.isalnum, one.casefold())): one for one in classes if one not in set(known)}
    near = get_close_matches("".join(filter(str.isalnum, missing.casefold())), plain, n=1, cutoff=0.85)
    return f" (is it {plain[near[0]]} here?)" if near else ""


def check_renamed(uri: str, classes: Sequence[str]) -> None:
    """Raise BadInput where a served model's class seems to be among `classes` under another name."""
    known = classes_of(uri)
    for one in known:
        if one not in set(classes) and (here := renamed(one, known, classes)):
            raise BadInput(
                f"model.weights_file={uri}: its class {one} is missing{here}: call it as the model does, so that the "
                "model can be added to"
            )


def classes_of(uri: str) -> list[str]:
    """What a served model answers with, in its order."""
    file = fetch_model(uri) / "artifacts" / "served" / MODEL_FACTS
    try:
        return list(json.loads(file.read_text(encoding="utf-8"))["classes"])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{uri}: its {MODEL_FACTS} cannot be read ({error}): delete that version in the MLflow UI"
        ) from None


def _digest(classes: Sequence[str]) -> str:
    return sha256(json.dumps(list(classes)).encode()).hexdigest()[:12]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")


def fetch_model(uri: str, key: str = "model") -> Path:
    """The folder of a logged or registered model (`models:/NAME@ALIAS`, `models:/NAME/3`, `runs:/...`)."""
    try:
        return Path(mlflow.artifacts.download_artifacts(uri))
    except (MlflowException, OSError, ImportError) as error:
        raise _no_such_model(uri, error, key) from None


def _no_such_model(uri: str, error: Exception, key: str = "model") -> BadInput:
    """Says what MLflow said, and which models there are to ask."""
    known = [
        f"models:/{model.name}@{alias}" if alias else f"models:/{model.name}/{model.latest_versions[-1].version}"
        for model in MlflowClient().search_registered_models(max_results=_NAMED)
        for alias in model.aliases or [""]
        if alias or model.latest_versions
    ]
    more = ", ..." if len(known) >= _NAMED else ""
    there = f"there are {', '.join(known)}{more}" if known else "python -m pipeline.promote makes one"
    if run := re.fullmatch("(?:runs:/+)?([0-9a-f]{32})/?", uri):
        return BadInput(f"{key}={uri}: a run is no served model; python -m pipeline.promote run={run[1]} makes it one")
    return BadInput(f"{key}={uri}: MLflow has no such model ({str(error).splitlines()[0]}); {there}")


def run_of_model(uri: str) -> str:
    """The id of the run that a registered or logged model came from. BadInput where there is no such model."""
    try:
        model = mlflow.models.get_model_info(uri)
        # `promote` logs outside any run: then only the logged model, not its files, says where it came from.
        run_id = model.run_id or (model.model_id and MlflowClient().get_logged_model(model.model_id).source_run_id)
    except (MlflowException, OSError, ImportError) as error:
        raise _no_such_model(uri, error) from None
    if not run_id:
        raise BadInput(f"model={uri}: MLflow does not know from which run it came; give run=ID")
    return str(run_id)


def weights_of(uri: str) -> Path:
    """The weights file of a run (`runs:/ID`) or of a served model's first member (`models:/NAME@ALIAS`)."""
    if uri.startswith("runs:/"):
        run_id = uri.removeprefix("runs:/").strip("/")
        run = find_run(MlflowClient(), run_id, f"model.weights_file={uri}", ("train",))
        file = run_folder(run.info.artifact_uri, "checkpoints") / BEST_WEIGHTS
    else:
        file = fetch_model(uri, "model.weights_file") / "artifacts" / "served" / FIRST_MEMBER
    if not file.is_file():
        raise BadInput(f"model.weights_file={uri}: it left no weights; choose a run that finished")
    return file


def run_folder(artifact_uri: str, path: str) -> Path:
    """A folder of a run's artifacts on this machine: in place for a local store, else fetched."""
    local = local_folder(artifact_uri)
    if local is not None:
        return local / path
    return Path(mlflow.artifacts.download_artifacts(f"{artifact_uri}/{path}"))
