"""The served model as MLflow loads it: this file is its code, `artifacts["served"]` its weights. No pickle."""

import base64
import binascii
import logging
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline.common.errors import BadInput, did_you_mean
from pipeline.data.beside.set_by_hand import COLUMN as SET_BY_HAND
from pipeline.data.cells import odd_cell
from pipeline.serving.answers import Wanted
from pipeline.serving.asking import answer, answer_as_one, as_shown
from pipeline.serving.bundle import Bundle, read_bundle
from pipeline.serving.limits import Limits, give_back_memory, share_processors

COLUMN = "image"
_KNOWN = ("top_k", "coverage", "min_probability", "error", "only", "known_sent_away", "explain", "together")
log = logging.getLogger(__name__)


class Refused(MlflowException):
    """An error told in one line, before which MLflow's server would put the data that was sent."""

    def serialize_as_json(self) -> str:
        """What the server answers with."""
        self.message = str(self)
        return str(super().serialize_as_json())  # type: ignore[no-untyped-call]


class ServedModel(PythonModel):
    """Pictures, as bytes or base64 text, and what is known beside them in; an answer each out."""

    _bundle: Bundle
    _limits: Limits

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights once, when the server starts."""
        self._limits = Limits.from_environment()
        share_processors()
        self._bundle = read_bundle(Path(context.artifacts["served"]))

    # Of a DataFrame MLflow makes no schema of its own, as it would of other hints; of no hint at all it complains.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """One answer a row. A mistake of the sender's becomes a 400 with one line and no server path."""
        try:
            facts = _facts(model_input, self._bundle.columns) if isinstance(model_input, pd.DataFrame) else None
            together = bool((params or {}).get("together"))
            return self._answers(list(_values(model_input)), _wanted(params or {}), facts, together=together)
        except BadInput as error:
            raise Refused(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        except Exception:
            log.exception("a request failed")  # for the server's log; its paths are no business of the sender's
            raise Refused("the model failed on this request", error_code=INTERNAL_ERROR) from None

    def _answers(
        self, values: list[Any], wanted: Wanted, facts: pd.DataFrame | None, *, together: bool
    ) -> list[dict[str, Any]]:
        until = monotonic() + self._limits.seconds
        if not values:
            raise BadInput("no pictures: send at least one")
        self._limits.check_count(len(values))
        pictures = [_bytes(value, place) for place, value in enumerate(values)]
        shown = as_shown(self._bundle, pictures, facts)
        large = self._limits.check_pixels(shown, {member.spec.preprocessing for member in self._bundle.members})
        if together:
            said = [answer_as_one(self._bundle, pictures, wanted, until, facts)]
        else:
            said = answer(self._bundle, pictures, wanted, until, facts)
        if large:
            give_back_memory()
        return [one.to_dict() for one in said]


def _wanted(params: dict[str, Any]) -> Wanted:
    """What may be asked for beside the pictures; 0 stands for nothing asked, as a parameter must have a default.

    MLflow leaves out parameters that the signature lacks before they come here, with a warning in the server's log.
    """
    for name in params:
        if name not in _KNOWN:
            raise BadInput(f"no parameter {name}{did_you_mean(name, _KNOWN)}")
    top_k = params.get("top_k")
    return Wanted(
        top_k=Wanted.top_k if top_k is None else int(top_k),
        coverage=float(params.get("coverage") or 0) or None,
        min_probability=float(params.get("min_probability") or 0),
        error=float(params.get("error") or 0) or None,
        only=tuple(str(name) for name in (() if params.get("only") is None else params["only"]) if name),
        known_sent_away=float(params.get("known_sent_away") or 0) or None,
        explain=bool(params.get("explain")),
    )


def _values(model_input: Any) -> Iterable[Any]:
    if isinstance(model_input, dict):
        model_input = pd.DataFrame(model_input)
    if isinstance(model_input, pd.DataFrame):
        if COLUMN not in model_input:
            raise BadInput(f"the column {COLUMN} is missing: it holds each picture's bytes in base64")
        return model_input[COLUMN]
    return model_input


def _facts(rows: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """What is known beside the pictures. BadInput for a cell that holds several values."""
    for column in (one for one in columns if one in rows and one != SET_BY_HAND):
        for row, cell in enumerate(rows[column]):
            if pd.api.types.is_list_like(cell):
                raise odd_cell(rows, column, row, "several values: send one text or number")
    return rows


def _bytes(value: Any, place: int) -> bytes:
    """A picture's bytes, from bytes, base64 text (its lines may be broken) or a `data:` address of that."""
    if isinstance(value, bytes) and value[:5].lower() == b"data:":
        value = value.decode("ascii", errors="replace")
    if isinstance(value, bytes):
        try:
            return base64.b64decode(value, validate=True)  # no picture format begins with base64's letters alone
        except binascii.Error:
            return value
    if not isinstance(value, str):
        raise BadInput(f"picture {place} is neither bytes nor base64 text")
    text = value.partition("base64,")[2] if value.lstrip()[:5].lower() == "data:" else value
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise BadInput(f"picture {place} is no whole base64 text ({error})") from None


mlflow.models.set_model(ServedModel())
