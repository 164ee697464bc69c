"""Pictures inside tar files that are not compressed: each is read where it lies, so that they come in any order.

A file system that many computers share has one keeper of names, whom each opening of a file asks. A tar is opened once.
"""

import io
import os
import tarfile
import weakref
import zlib
from functools import lru_cache

TAR, OFFSET, HEADER = "tar", "tar_offset", "tar_header"  # columns of a table whose pictures are members of tars
_MOST_OPEN = 256  # of the 1,024 files that a process may have open


class _Opened:
    """A tar that is open until its last reader, of several threads perhaps, is through with it."""

    def __init__(self, tar: str) -> None:
        self.handle = os.open(tar, os.O_RDONLY)
        weakref.finalize(self, os.close, self.handle)


opened = lru_cache(_MOST_OPEN)(_Opened)  # stays open, whatever takes its place


class ChangedTarError(OSError):
    """A tar was written anew since it was looked through."""


class Member(str):
    """A picture's path as if its tar were unpacked, and where its bytes are: `length` of them, from `offset` in `tar`.

    `header`: the checksum of the block before them, which says whose they are.
    """

    __slots__ = ("header", "length", "offset", "tar")
    tar: str
    offset: int
    length: int
    header: int

    def __new__(cls, path: str, tar: str, offset: int, length: int, header: int) -> "Member":
        """One more; a text is made, not filled."""
        made = super().__new__(cls, path)
        made.tar, made.offset, made.length, made.header = tar, offset, length, header
        return made

    def __reduce__(self) -> tuple[type, tuple[str, str, int, int, int]]:
        return Member, (str(self), self.tar, self.offset, self.length, self.header)  # readers are other processes

    def read(self) -> bytes:
        """Its bytes. Raises OSError, `ChangedTarError` of a tar that is another by now."""
        for _ in range(2):
            tar = opened(self.tar)
            data = os.pread(tar.handle, tarfile.BLOCKSIZE + self.length, self.offset - tarfile.BLOCKSIZE)
            picture = data[tarfile.BLOCKSIZE :]
            if len(picture) == self.length and header_of(data) == self.header:
                return picture
            opened.cache_clear()  # another file may have taken the place of the one that is open
        raise ChangedTarError(f"is no longer where it was in {self.tar}, which was changed meanwhile")


def header_of(data: bytes) -> int:
    """What is kept of a member's header, which `data` begins with, to know it again by."""
    return zlib.crc32(data[: tarfile.BLOCKSIZE])


def for_pillow(picture: str | os.PathLike[str] | bytes) -> str | os.PathLike[str] | io.BytesIO:
    """What Pillow opens: of a file only what it needs is read."""
    if isinstance(picture, Member):
        picture = picture.read()
    return io.BytesIO(picture) if isinstance(picture, bytes) else picture
