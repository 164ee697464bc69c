"""Where the password is entered, once."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from pipeline.web.guard import address
from pipeline.web.refusal import Refused
from pipeline.web.rendering import page, words
from pipeline.web.site import site_of

router = APIRouter(include_in_schema=False)


@router.get("/enter")
def enter(request: Request) -> Response:
    """The form."""
    return page(request, "enter.html.j2", problem="")


@router.post("/enter")
def entered(request: Request, password: Annotated[str, Form(max_length=1000)] = "") -> Response:
    """In, or the form again."""
    t = words(request)
    try:
        right = site_of(request).door.opens_to(password, address(request))
    except Refused:
        return page(request, "enter.html.j2", status=429, problem=t("common.wait"))
    if not right:
        return page(request, "enter.html.j2", status=401, problem=t("common.wrong_password"))
    request.session["in"] = True
    return RedirectResponse("/", 303)


@router.post("/leave")
def leave(request: Request) -> Response:
    """Forget that the password was entered."""
    request.session.clear()
    return RedirectResponse("/enter", 303)
