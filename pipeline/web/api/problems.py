"""What REST answers where it cannot do what is asked."""

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """An error."""

    detail: str = Field(description="what is wrong, in one line")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an operation, for its description; those that any may have are among them."""
    return {status: {"model": Problem} for status in (*statuses, 401, 403, 413, 421, 422, 429)}
