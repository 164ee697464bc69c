"""Large JSON files record by record: a list of millions of pictures is a gigabyte, and ten times that as dicts."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from pipeline.common.errors import BadInput

_CHUNK = 1 << 22  # characters
_SPACE = " \t\r\n"
_SEPARATOR = _SPACE + ","


def records(file: Path, arrays: Collection[str], key: str) -> Iterator[tuple[str, Any]]:
    """Each element of some arrays under the top object's keys, with its key, in the file's order.

    What bears one of these names and is no array comes whole.

    Raises `BadInput` that names the file for what is no JSON, or no object at its top.
    """
    with file.open(encoding="utf-8-sig") as stream:
        text = _Text(file, stream, key)
        text.expect("{")
        while text.peek(_SEPARATOR) != "}":
            name = text.value()
            text.expect(":")
            wanted = name in arrays
            if text.peek(_SPACE) != "[":
                whole = text.value()
                if wanted:
                    yield name, whole
                continue
            text.expect("[")
            while text.peek(_SEPARATOR) != "]":
                element = text.value()
                if wanted:
                    yield name, element
            text.expect("]")


class _Text:
    """A file's text, of which only a chunk is in memory, and a place in it."""

    def __init__(self, file: Path, stream: TextIO, key: str) -> None:
        self._file, self._stream, self._key = file, stream, key
        self._decode = json.JSONDecoder().raw_decode
        self._buffer, self._place = "", 0

    def peek(self, passed: str) -> str:
        """The next character that is not one of `passed`."""
        while True:
            buffer, place = self._buffer, self._place
            while place < len(buffer):
                if buffer[place] not in passed:
                    self._place = place
                    return buffer[place]
                place += 1
            self._place = place
            if not self._more():
                raise self._broken("it ends too early")

    def expect(self, character: str) -> None:
        """Pass a character."""
        found = self.peek(_SPACE)
        if found != character:
            raise self._broken(f"{found!r} where {character!r} should be")
        self._place += 1

    def value(self) -> Any:
        """Pass the next value."""
        self.peek(_SEPARATOR)
        while True:
            try:
                value, end = self._decode(self._buffer, self._place)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self._broken(error.msg) from None
            # What ends with the chunk may be the beginning of a longer number.
            if end < len(self._buffer) or not self._more():
                self._place = end
                return value

    def _more(self) -> bool:
        try:
            chunk = self._stream.read(_CHUNK)
        except UnicodeDecodeError:
            raise self._broken("it is not UTF-8") from None
        self._buffer = self._buffer[self._place :] + chunk
        self._place = 0
        return bool(chunk)

    def _broken(self, why: str) -> BadInput:
        return BadInput(f"{self._key}: {self._file} is no JSON of the published form ({why})")
