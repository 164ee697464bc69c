"""Features of pictures as one Parquet file, which pandas, polars and DuckDB open too.

Columns: `path`, `label` (the class's name), `split`, `features` (a list of float32). The schema's metadata holds, as
JSON under `features`, the `format_version` and what the features were made of: data and network.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.common.atomic import write_atomically
from pipeline.predictions.parquet import lists, matrix, opened

FORMAT_VERSION = 1
METADATA_KEY = b"features"
_REMEDY = "make it with python -m pipeline.embed"


@dataclass(frozen=True)
class FeatureTable:
    """`rows`: `path`, `label` and `split` of n pictures; `values` (n, features) float32 in their order.

    `made_of`: `network` (name, weights, digest, preprocessing, precision), `data` (name, digest, classes).
    """

    rows: pd.DataFrame
    values: np.ndarray
    made_of: dict[str, Any]


def write_features(path: Path, rows: pd.DataFrame, blocks: Iterable[np.ndarray], made_of: dict[str, Any]) -> None:
    """Write the file, whole or not at all. `blocks` (k, features) come one after the other in the order of `rows`."""
    header = json.dumps({"format_version": FORMAT_VERSION, **made_of}, ensure_ascii=False).encode()

    def write(fresh: Path) -> None:
        writer, start = None, 0
        try:
            for block in blocks:
                some = rows.iloc[start : start + len(block)]
                texts = {name: pa.array(some[name].astype(object), pa.string()) for name in ("path", "label", "split")}
                table = pa.table({**texts, "features": lists(block.astype(np.float32))})
                table = table.replace_schema_metadata({METADATA_KEY: header})
                writer = writer or pq.ParquetWriter(
                    fresh, table.schema, compression="zstd", use_dictionary=["label", "split"],
                    use_byte_stream_split=["features.list.element"],
                )  # fmt: skip
                writer.write_table(table)
                start += len(block)
        finally:
            if writer:
                writer.close()

    write_atomically(path, write, shared=True)


def read_features(path: str | Path) -> FeatureTable:
    """Read a file that `write_features` wrote; BadInput where it is missing, is none, or is of another version."""
    table, made_of = opened(Path(path), METADATA_KEY, FORMAT_VERSION, _REMEDY)
    return FeatureTable(table.select(["path", "label", "split"]).to_pandas(), matrix(table["features"]), made_of)


def holds_features(path: Path) -> bool:
    """Whether a file is one of features, of whatever version."""
    try:
        return METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False
