"""The parts of the running server, which a request finds by `site_of`."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from starlette.requests import HTTPConnection

from pipeline.common.atomic import scratch_folder
from pipeline.web.alike import Alike
from pipeline.web.answering import Answering
from pipeline.web.guard import Door
from pipeline.web.models import Models
from pipeline.web.settings import Settings
from pipeline.web.uploads import Visits


@dataclass
class Site:
    """What was started; `closing` ends it: a part that holds threads, processes or files registers there."""

    settings: Settings
    door: Door
    models: Models
    answering: Answering
    visits: Visits
    alike: Alike
    closing: ExitStack

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Start the parts."""
        closing = ExitStack()
        answering = Answering()
        closing.callback(answering.close)
        alike = Alike(answering)
        closing.callback(alike.close)
        folder = closing.enter_context(scratch_folder())
        visits = Visits(folder, settings.limits)
        return cls(settings, Door(settings.password), Models(settings), answering, visits, alike, closing)


def site_of(request: HTTPConnection) -> Site:
    """The site that a request came to."""
    site: Site = request.app.state.site
    return site
