"""Whether a store's address can be one, and whether a server answers there; asked before MLflow is imported."""

import math
import socket
import time
from urllib.parse import urlsplit

from pipeline.common.errors import BadInput

_ANSWER_WITHIN, _ASKED_AGAIN = 10, 30  # seconds: for an answer; after which a server is asked anew
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_DATABRICKS = ("databricks", "databricks-uc", "uc")

_knocked: dict[str, tuple[float, str]] = {}  # by address, when a server was asked, and why it is away


def check_address(uri: str, said: str) -> None:
    """BadInput where a store's address, which its user `said`, is none that keeps runs."""
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:
        raise BadInput(f"{said} is no address: {error}") from None
    if uri.rstrip("/") == "sqlite:" or ":memory:" in uri:
        raise BadInput(
            f"{said}: that database is in memory, and gone with the command; name a file, sqlite:///mlflow.db"
        )
    if scheme in ("", "file") and uri not in _DATABRICKS:
        raise BadInput(
            f"{said}: MLflow keeps no runs in plain folders any more; "
            f"use sqlite:///mlflow.db (mlflow migrate-filestore brings old runs over)"
        )


def why_away(uri: str, said: str) -> str:
    """Why a server cannot be asked now; empty where it answers, or is none."""
    asked, reason = _knocked.get(uri, (-math.inf, ""))
    if time.monotonic() - asked > _ASKED_AGAIN:
        reason = _knock(uri, said)
        note_away(uri, reason)
    return reason


def note_away(uri: str, reason: str) -> None:
    """That a server was found to be away, or (no reason) there: for a while it is not asked again."""
    _knocked[uri] = time.monotonic(), reason


def _knock(uri: str, said: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return _ask(uri, said)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and port:  # MLflow would try for two minutes
        try:
            socket.create_connection((parts.hostname, port), _ANSWER_WITHIN).close()
        except OSError as error:
            return str(error)
    return ""


def _ask(uri: str, said: str) -> str:
    import requests

    what = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        answer = requests.get(what, params={"max_results": 1}, timeout=_ANSWER_WITHIN)
    except requests.exceptions.SSLError:
        return ""  # one is there; MLflow has settings of its own for certificates
    except requests.exceptions.InvalidURL as error:
        raise BadInput(f"{said} is no address: {error}") from None
    except requests.RequestException as error:
        return type(error).__name__
    if answer.ok and "json" not in answer.headers.get("Content-Type", ""):
        raise BadInput(f"{said}: what answers there is no MLflow server")
    return f"status {answer.status_code}" if answer.status_code >= 500 else ""
