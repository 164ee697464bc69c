"""What a visitor is told where something cannot be had: a status and one line, without the server's paths."""

from pipeline.data.reading.decoding import UnreadablePicture
from pipeline.reporting.shown_paths import without_paths


class Refused(Exception):
    """A request that is not answered; `status` is HTTP's, the text one line for whoever asked."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


def told(error: Exception) -> str:
    """What an error of this program says, in one line."""
    return without_paths(str(error).partition("\n")[0])


def status_of(error: Exception) -> int:
    """HTTP's number for an error of this program."""
    return int(getattr(error, "status", 400))


def kind_of(error: Exception) -> str:
    """What kind of error it is, as `common.problem.KIND` words it for people."""
    return "unreadable" if isinstance(error, UnreadablePicture) else str(status_of(error))
