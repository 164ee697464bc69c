"""The page of REST, from its own description (OpenAPI); nothing is fetched from elsewhere for it."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from pipeline.web.rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Each operation with what it takes, and how curl asks for it."""
    return page(request, "docs.html.j2", api=request.app.openapi(), base=str(request.base_url).rstrip("/"))
