"""Pictures by their address, from servers that were named at the start alone: who fetches any address is a hole."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import requests

from pipeline.web.asking import Sent
from pipeline.web.refusal import Refused
from pipeline.web.settings import Settings

_SECONDS = 10


def fetched(urls: Sequence[str], settings: Settings) -> list[Sent]:
    """The pictures at these addresses. Refused for another server, and where one does not send a picture."""
    return [_fetched(url, settings) for url in urls if url]


def _fetched(url: str, settings: Settings) -> Sent:
    most = settings.limits.request_mb * 2**20
    try:
        parts = urlsplit(url)
        place = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    except ValueError:
        raise Refused(400, "urls: that is no address") from None
    if parts.scheme not in ("http", "https") or place not in settings.allowed_hosts or parts.username:
        raise Refused(400, f"urls: {place} is not among the servers that pictures may come from (allowed_hosts)")
    try:
        # A redirect could lead anywhere.
        with requests.get(url, timeout=_SECONDS, stream=True, allow_redirects=False) as said:
            if said.status_code != 200:
                raise Refused(400, f"urls: {place} answers {said.status_code}")
            data = bytearray()
            for some in said.iter_content(2**16):
                data += some
                if len(data) > most:
                    raise Refused(413, f"urls: what {place} sends is larger than {settings.limits.request_mb} MB")
    except requests.RequestException:
        raise Refused(400, f"urls: {place} does not answer") from None
    return Sent(PurePosixPath(parts.path).name, bytes(data))
