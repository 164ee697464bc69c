"""The page for people, and REST for programs:   python -m pipeline.app folders=~/photos"""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.common.errors import BadInput
from pipeline.config import schema
from pipeline.tracking.store import Store


def run(config: schema.App) -> None:
    """Open the page until it is asked to end."""
    for module in ("fastapi", "uvicorn", "itsdangerous", "python_multipart"):
        if find_spec(module) is None:
            raise BadInput(f"the page needs {module}, which is not installed: pip install -e '.[app]'")
    from pipeline.web.settings import Settings

    settings = Settings.of(config)
    store = Store()  # made in a process beside the imports
    from pipeline.web.server import serve

    store.open()
    serve(settings)
