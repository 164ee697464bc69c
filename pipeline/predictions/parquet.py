"""Predictions as one Parquet file, which pandas, polars and DuckDB open too.

Columns: `id`, `label` (class code), `logits` (a list of float32 a row); when sparse also `columns` (their
class codes), `rest_logsumexp` and `rest_mean`. The schema's metadata holds, as JSON under `predictions`, the
`format_version` and the class names.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.errors import BadInput
from pipeline.predictions.predictions import Predictions, Rest

FORMAT_VERSION = 1
METADATA_KEY = b"predictions"


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write the file, whole or not at all."""
    columns = {
        "id": pa.array(predictions.ids.tolist(), pa.string()),
        "label": pa.array(predictions.labels.astype(np.int32)),
        "logits": lists(predictions.logits.astype(np.float32)),
    }
    if predictions.columns is not None and predictions.rest is not None:
        narrow = np.uint16 if len(predictions.classes) <= 2**16 else np.int32
        columns["columns"] = lists(predictions.columns.astype(narrow))
        columns["rest_logsumexp"] = pa.array(predictions.rest.logsumexp.astype(np.float32))
        columns["rest_mean"] = pa.array(predictions.rest.mean.astype(np.float32))
    header = json.dumps({"format_version": FORMAT_VERSION, "classes": predictions.classes}, ensure_ascii=False)
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: header.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # Bytes of floats that belong together compress by a tenth; a dictionary of floats only costs.
    floats = [name for name in ("logits.list.element", "rest_logsumexp", "rest_mean") if name.split(".")[0] in columns]
    pq.write_table(table, partial, compression="zstd", use_dictionary=["id"], use_byte_stream_split=floats)
    partial.replace(path)


def read_predictions(path: Path) -> Predictions:
    """Read a file that `write_predictions` wrote; BadInput where it is missing, is none, or is of another version."""
    remedy = "score the run again with python -m pipeline.evaluate, or train it anew"
    table, header = opened(path, METADATA_KEY, FORMAT_VERSION, remedy)
    return _from_table(table, header["classes"])


def opened(path: Path, key: bytes, version: int, remedy: str) -> tuple[pa.Table, dict[str, Any]]:
    """A Parquet file and the JSON under `key` in its metadata, without the `format_version`.

    BadInput, which ends in the remedy, where it is missing, is none, or is of another version.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BadInput(f"{path} is missing: {remedy}") from None
    except (pa.ArrowInvalid, OSError):
        raise BadInput(f"{path} is no whole Parquet file: {remedy}") from None
    header = json.loads((table.schema.metadata or {}).get(key, b"{}"))
    found = header.pop("format_version", None)
    if found != version:
        raise BadInput(f"{path} has format_version {found}, this program reads {version}: {remedy}")
    return table, header


def _from_table(table: pa.Table, classes: list[str]) -> Predictions:
    ids = table["id"].to_pandas().to_numpy(dtype=object)
    labels = table["label"].to_numpy().astype(np.int64)
    logits = matrix(table["logits"])
    if "columns" not in table.column_names:
        return Predictions(ids, labels, classes, logits)
    count = len(classes) - logits.shape[1]
    rest = Rest(count, table["rest_logsumexp"].to_numpy(), table["rest_mean"].to_numpy())
    return Predictions(ids, labels, classes, logits, matrix(table["columns"]).astype(np.int32), rest)


def lists(values: np.ndarray) -> pa.Array:
    """(n, k) as a column of n lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """The inverse of `lists`."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)
