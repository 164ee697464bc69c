"""The application put together, and the server that it runs in.

A new page or part of REST is a module with a `router`, listed in `ROUTERS`.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from mlflow.exceptions import MlflowException
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from pipeline.common.errors import BadInput, Stopped
from pipeline.web.api import data, docs, health, jobs, models, predict
from pipeline.web.guard import Guard, SecurityHeaders
from pipeline.web.jobs.queue import jobs_here
from pipeline.web.pages import data as data_page
from pipeline.web.pages import enter, identify, model, train
from pipeline.web.refusal import Refused, kind_of, told
from pipeline.web.rendering import STATIC, heading, page, words
from pipeline.web.settings import Settings
from pipeline.web.site import Site

log = logging.getLogger("pipeline.app")

_TIDY = 30  # seconds between looks for visitors who are gone
ROUTERS = (
    health.router,
    predict.router,
    models.router,
    docs.router,
    jobs.router,
    data.router,
    data_page.router,
    train.router,
    enter.router,
    identify.router,
    model.router,
)


def serve(settings: Settings) -> None:
    """Open the page until it is asked to end. BadInput where the port is taken."""
    try:
        listening = socket.create_server((settings.host, settings.port), family=_family(settings.host))
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise BadInput(f"host={settings.host} port={settings.port}: {why}; choose another port") from None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    log.info("the page is at http://%s:%d/ (Ctrl-C ends it)", host, listening.getsockname()[1])
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it tells of forms that are none, as senders are too
    config = uvicorn.Config(
        application(settings),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def application(settings: Settings) -> FastAPI:
    """All of it as an ASGI application."""
    site = Site.open(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with site.closing:
            tidying = asyncio.create_task(_forget_idle(site))
            warming = asyncio.create_task(_warm_up(site))
            await asyncio.to_thread(jobs_here().wake)  # trainings that were asked for before
            yield
            tidying.cancel()
            warming.cancel()

    app = FastAPI(
        title="species-pipeline", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=lifespan,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(GZipMiddleware, minimum_size=1000),
            Middleware(
                SessionMiddleware, secret_key=secrets.token_hex(32), session_cookie=f"pipeline_{settings.port}",
                same_site="strict", max_age=None,
            ),
            Middleware(Guard, door=site.door, limits=settings.limits),
        ],
        exception_handlers={
            HTTPException: _of_http, Refused: _refused, BadInput: _bad_input, Stopped: _bad_input,
            RequestValidationError: _not_valid, ClientDisconnect: _too_large, Exception: _failed,
        },
    )  # fmt: skip
    app.state.site = site
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", _Static(directory=STATIC), name="static")
    return app


class _Static(StaticFiles):
    """Files of the page, which browsers keep and ask about: what changed is seen at the next request."""

    def file_response(self, *args: Any, **given: Any) -> Response:
        """With the header."""
        answer = super().file_response(*args, **given)
        answer.headers["cache-control"] = "no-cache"
        return answer


async def _forget_idle(site: Site) -> None:
    while True:
        await asyncio.sleep(_TIDY)
        await run_in_threadpool(site.visits.forget_idle)


async def _warm_up(site: Site) -> None:
    """Have the model that answers first in memory before anybody asks."""
    with suppress(Refused):
        try:
            await run_in_threadpool(site.models.asked, None, None)
        except (BadInput, MlflowException) as error:
            log.warning("warning: the model that should answer first cannot: %s", error)


def _say(
    request: Request, status: int, text: str, headers: Mapping[str, str] | None = None, kind: str = ""
) -> Response:
    """An error, as JSON to programs and scripts, else as a page. The page's script says what `kind` it is of, too."""
    text = text.encode(errors="replace").decode()  # what was sent may hold half a letter
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": text}, status, headers)
    said = heading(words(request), kind or str(status))
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": text, "kind": said}, status, headers)
    return page(request, "error.html.j2", status=status, heading=said, text=text)


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _say(request, error.status_code, str(error.detail), error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _say(request, error.status, str(error), error.headers)


async def _bad_input(request: Request, error: Exception) -> Response:
    return _say(request, 400, told(error), kind=kind_of(error))


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _say(request, 422, f"{where}: {first['msg']}".removeprefix(": "))


async def _too_large(request: Request, _: Exception) -> Response:
    return _say(request, 413, "the request was too large, or broke off")


async def _failed(request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)  # its paths are for the log, no business of the sender's
    return _say(request, 500, "the server failed on this request; its log says more")
