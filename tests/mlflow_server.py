"""A real MLflow server over HTTP, and a proxy before it that can be in every state that a server can be in."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@contextmanager
def served(folder, made_store):
    """The port of a server whose store and artifacts lie in `folder`; `made_store` is an empty database."""
    shutil.copy(made_store, folder / "served.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'served.db'}",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "served"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    app = ["uvicorn", "--port", str(port), "--log-level", "error", "mlflow.server.fastapi_app:app"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *app], env=os.environ | variables, cwd=folder, stdout=log, stderr=log
        )
    try:
        while not _answers(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port):
    try:
        with closing(HTTPConnection("127.0.0.1", port)) as server:
            server.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1")
            return server.getresponse().status == 200
    except OSError:
        return False


class Proxy:
    """Stands before a server. `state`: `up`, `gone`, `500`, `hanging`, or `cut` (its answer is lost).

    `but`: how many requests more are answered before that state begins; `slow`: seconds before each answer. `asked` are
    the requests that came.
    """

    def __init__(self, port):
        self.state, self.but, self.slow, self.asked, self._ended = "up", 0, 0.0, [], Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _relay(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.asked.append(f"{self.command} {self.path}")
                proxy._ended.wait(proxy.slow)
                state = proxy.state if not proxy.but else "up"
                proxy.but = max(0, proxy.but - (proxy.state != "up"))
                if state == "hanging":
                    proxy._ended.wait(600)
                if state in ("hanging", "gone"):
                    self.close_connection = True
                    return
                if state == "500":
                    self.send_error(500)
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                with closing(HTTPConnection("127.0.0.1", port)) as server:
                    server.request(self.command, self.path, body, headers)
                    answer = server.getresponse()
                    content = answer.read()
                if state == "cut":
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _relay  # noqa: N815

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
