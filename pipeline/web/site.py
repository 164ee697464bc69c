"""The parts of the running server, which a request finds by `site_of`."""

from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from pipeline.web.guard import Door
from pipeline.web.settings import Settings


@dataclass
class Site:
    """What was started; `closing` ends it: a part that holds threads, processes or files registers there."""

    settings: Settings
    door: Door
    closing: ExitStack = field(default_factory=ExitStack)


def site_of(request: HTTPConnection) -> Site:
    """The site that a request came to."""
    site: Site = request.app.state.site
    return site
