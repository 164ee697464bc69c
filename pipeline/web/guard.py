"""Who may ask, and how much: every request passes here before anything else looks at it.

- Without a password only this machine is served, and only by its own names: another name that leads here is an attack
  by DNS rebinding.
- With one, people enter it once (a signed cookie), programs send it: `Authorization: Bearer PASSWORD`.
- What changes something must come from a page of this server or from no browser: the browser says from where, in
  `Origin` and `Sec-Fetch-Site`, and sends the cookie to this server's own pages only (SameSite=Strict).
- An address may ask so many times a minute, and enter a wrong password a few times.
"""

import secrets
from collections import OrderedDict
from http import HTTPStatus
from time import monotonic
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.config import schema
from pipeline.web.refusal import Refused
from pipeline.web.settings import is_loopback

OPEN_TO_ALL = ("/enter", "/static/", "/api/health")
_CHEAP = ("/static/", "/pictures/")  # that a page asks for by the hundred
_READS = ("GET", "HEAD", "OPTIONS")
_ADDRESSES = 10_000  # whose requests are counted at a time
_WRONG = 10  # passwords a minute, of an address
_WRONG_OF_ALL = 100  # of all: who guesses may have many addresses, or make them up before a proxy that lets them
# Scripts, styles and pictures are this server's own; nothing may frame it.
SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # without any, browsers would send Origin: null with forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "geolocation=(), microphone=()",
    "cache-control": "no-store",
}
# A report is a file of this program's, with styles of its own and pictures in it: it runs nothing, and knows nothing
# of this server, whose pages may frame it.
REPORT = {
    "content-security-policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
    ),
    "x-frame-options": "SAMEORIGIN",
}


class Counter:
    """At most `most` a minute of each name, evenly: what is used up comes back bit by bit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, cost: float = 1) -> None:
        """Raise Refused where nothing is left."""
        now = monotonic()
        left, at = self._left.pop(name, (float(self._most), now))
        left = min(self._most, left + (now - at) * self._most / 60)
        self._left[name] = (left - cost if left >= 1 else left, now)
        while len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        if left < 1:
            raise Refused(429, "too many requests: wait a little", {"retry-after": "5"})


class Door:
    """The password, and who tries to guess it."""

    def __init__(self, password: str | None) -> None:
        self.password = password
        self._wrong, self._wrong_of_all = Counter(_WRONG), Counter(_WRONG_OF_ALL)

    def opens_to(self, given: str, address: str) -> bool:
        """Whether what an address gave is the password, told in constant time. Raises Refused for one who tries."""
        self._wrong.take(address, 0)
        self._wrong_of_all.take("", 0)
        right = self.password is not None and secrets.compare_digest(given.encode(), self.password.encode())
        if not right:
            self._wrong.take(address)
            self._wrong_of_all.take("")
        return right


class Guard:
    """ASGI middleware, inside the one of the signed cookie (`request.session`)."""

    def __init__(self, app: ASGIApp, door: Door, limits: schema.PageLimits) -> None:
        self._app, self._door = app, door
        self._most_bytes = limits.request_mb * 2**20
        self._requests = Counter(limits.requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        try:
            self._check(asked)
            enters = self._may_enter(asked)
        except Refused as refused:
            await _refused(asked, refused)(scope, receive, send)
            return
        await (self._app if enters else _to_the_door(asked))(scope, self._counted(receive), send)

    def _check(self, asked: HTTPConnection) -> None:
        """Raise Refused for what nobody may send."""
        if not asked.url.path.startswith(_CHEAP):
            self._requests.take(address(asked))
        try:
            name = urlsplit(f"//{asked.headers.get('host', '')}").hostname or ""
        except ValueError:
            name = ""
        if self._door.password is None and not is_loopback(name):
            raise Refused(421, "this server answers to 127.0.0.1 and localhost alone")
        if asked.scope["method"] not in _READS and _from_elsewhere(asked.headers):
            raise Refused(403, "this was sent by a page of another server")
        length = asked.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most_bytes:
            raise Refused(413, f"at most {self._most_bytes // 2**20} MB a request: send several")

    def _may_enter(self, asked: HTTPConnection) -> bool:
        if self._door.password is None or asked.url.path.startswith(OPEN_TO_ALL):
            return True
        given = asked.headers.get("authorization", "")
        if given[:7].lower() == "bearer ":
            return self._door.opens_to(_as_text(given[7:]), address(asked))
        return bool(asked.session.get("in"))

    def _counted(self, receive: Receive) -> Receive:
        """A body without a length, which stops where it grows too large."""
        left = self._most_bytes

        async def receive_counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        return receive_counted


def _from_elsewhere(headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


def address(asked: HTTPConnection) -> str:
    """From where a request came."""
    return asked.client.host if asked.client else ""


def _as_text(header: str) -> str:
    """A header's UTF-8, which arrives as Latin-1."""
    return header.encode("latin-1").decode("utf-8", errors="replace")


def _refused(asked: HTTPConnection, refused: Refused) -> Response:
    if asked.url.path.startswith("/api/"):
        return JSONResponse({"detail": str(refused)}, refused.status, refused.headers)
    return PlainTextResponse(f"{HTTPStatus(refused.status).phrase}: {refused}\n", refused.status, refused.headers)


def _to_the_door(asked: HTTPConnection) -> Response:
    if asked.url.path.startswith("/api/"):
        said = {"detail": "send the password: Authorization: Bearer PASSWORD"}
        return JSONResponse(said, 401, {"www-authenticate": "Bearer"})
    if asked.scope["method"] in _READS:
        return RedirectResponse("/enter", 303)
    return PlainTextResponse("Unauthorized: enter the password first\n", 401)


class SecurityHeaders:
    """ASGI middleware, outside of all others: what browsers may do with each answer, unless it says so itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with headers added."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
