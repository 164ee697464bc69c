"""Whether the server is up."""

from fastapi import APIRouter

router = APIRouter(prefix="/api", tags=["server"])


@router.get("/health", summary="Whether the server is up")
def health() -> dict[str, str]:
    """Needs no password."""
    return {"status": "ok"}
