"""From a file, or its bytes, to RGB pixels, by the fastest way that its kind allows.

simplejpeg's libjpeg-turbo is the fastest for JPEGs near the wanted size (1.1 times torchvision's decoder, which is on
its way out, with the same pixels), Pillow's scaled decoding for those several times larger; Pillow reads all else.
"""

import io
import math
import os
import struct
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.common.errors import BadInput
from pipeline.data.files import not_a_file
from pipeline.data.members import ChangedTarError, Member, for_pillow

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# libjpeg's own scaling is coarse: left at twice the wanted side, the result stays within about 0.2 grey
# levels of a full decode; at once the wanted side, within about 1. At 1.6 times, within 0.4, photographs of
# 12 megapixels become 224 pixels by way of an eighth of their size, the fastest that libjpeg has.
_MARGIN = 1.6

# JPEG's markers (ITU T.81, table B.1): of frames, baseline, progressive and others; of what may stand before one.
_SEGMENTS = frozenset({0xC4, 0xCC, *range(0xDB, 0xF0), 0xFE})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FRAME = struct.Struct(">HHB")  # height, width, components

# Between 89 and 179 megapixels Pillow only warns; beyond, it refuses, and so do we.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_ORIENTATION = 0x0112  # EXIF's tag, and how its values turn (h, w, 3) pixels upright
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: np.rot90(pixels, 2),
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


class UnreadablePicture(BadInput):
    """A picture that cannot be decoded: `path` (or what stands for it) and `reason`.

    `lasting`: the fault is in its content, so that it stays until the file changes.
    """

    def __init__(self, path: str, reason: str, lasting: bool = True) -> None:  # pickled
        super().__init__(f"{path} {reason}")
        self.path = path
        self.reason = reason
        self.lasting = lasting

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        return type(self), (self.path, self.reason, self.lasting)  # it comes from worker processes


class _RefusedError(Exception):
    """Decoded far enough to know why not to go on."""


def decode(source: str | os.PathLike[str] | bytes, least_side: int) -> np.ndarray:
    """(h, w, 3) uint8 RGB, upright as its EXIF tag says, transparency on white.

    Large JPEGs come scaled down, their shorter side still at least 1.6 times `least_side`.
    Raises `UnreadablePicture`.
    """
    return decode_at(source, [least_side])[0]


def decode_at(source: str | os.PathLike[str] | bytes, least_sides: Sequence[int]) -> list[np.ndarray]:
    """What `decode` gives for each of these sides: the same pixels, though a picture is decoded only once.

    It is decoded again where it is a JPEG so large that it comes at another scale for another side.
    """
    made: dict[object, np.ndarray] = {}
    try:
        data = source if isinstance(source, bytes) else read_file(source)
        scales = [_scale(data, side) for side in least_sides] if len(least_sides) > 1 else [None]
        for side, scale in zip(least_sides, scales, strict=True):
            if scale not in made:
                made[scale] = _decode(data, side)
        return [made[scale] for scale in scales]
    except (MemoryError, UnreadablePicture):
        raise
    except Exception as error:  # decoders raise anything at all on broken files
        name = "the picture" if isinstance(source, bytes) else os.fspath(source)
        raise UnreadablePicture(name, _reason(error)) from error


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A picture's bytes. Raises `UnreadablePicture`; what is no file is not opened."""
    name = os.fspath(path)
    try:
        if isinstance(path, Member):
            return path.read()
        wrong = not_a_file(os.stat(name).st_mode)  # noqa: PTH116  # a picture's path is text, to save time
        if wrong:
            raise UnreadablePicture(name, wrong)
        with open(name, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read()
    except OSError as error:
        raise UnreadablePicture(name, _reason(error), lasting=False) from error


def _decode(data: bytes, least_side: int) -> np.ndarray:
    if not data:
        raise _RefusedError("is empty (0 bytes)")
    frame = _jpeg_frame(data)
    if frame and frame.is_read_whole(least_side):
        try:
            return _whole_jpeg(data, frame)
        except ValueError:
            pass  # Pillow reads some that this does not, and says why of the others
    with _opened(data) as image:
        return _by_pillow(image, math.ceil(_MARGIN * least_side))


def _scale(data: bytes, least_side: int) -> tuple[int, int] | None:
    """The size at which a large JPEG comes out of its decoder; None for what comes as it is."""
    frame = _jpeg_frame(data)
    if not data.startswith(b"\xff\xd8") or (frame and frame.is_read_whole(least_side)):
        return None
    with _opened(data) as image:
        whole = image.size
        image.draft(None, (math.ceil(_MARGIN * least_side),) * 2)
        return None if image.size == whole else image.size


def pixels_to_decode(data: bytes, least_side: int) -> int:
    """How many pixels `decode` would have in memory at once, as the header says; 0 where that cannot be read.

    A JPEG counts at the reduced size at which it is decoded, unless it is progressive: then all of it is kept.
    """
    frame = _jpeg_frame(data)
    if frame and frame.is_read_whole(least_side):
        return frame.height * frame.width
    try:
        with _opened(data) as image:
            if not image.info.get("progressive"):
                image.draft(None, (math.ceil(_MARGIN * least_side),) * 2)
            return image.width * image.height
    except Exception:  # what is wrong with it, decoding says
        return 0


def upright_size(source: str | os.PathLike[str] | bytes | np.ndarray) -> tuple[int, int]:
    """Width and height, in pixels, of a picture seen upright, as its header says; 0, 0 where that cannot be read."""
    if isinstance(source, np.ndarray):
        return source.shape[1], source.shape[0]
    try:
        with Image.open(for_pillow(source), formats=FORMATS) as image:
            lies = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            return (image.height, image.width) if lies else (image.width, image.height)
    except Exception:  # what is wrong with it, decoding says
        return 0, 0


class _Frame(NamedTuple):
    """What a JPEG's headers say: pixels, colour components (1 grey, 3 colour, 4 CMYK), EXIF's own bytes if any."""

    height: int
    width: int
    components: int
    exif: bytes = b""

    def is_read_whole(self, least_side: int) -> bool:
        """Whether it is decoded at its full size."""
        return self.components in (1, 3) and not self.is_large(2 * _MARGIN * least_side)

    def is_large(self, side: float) -> bool:
        """Whether both sides are at least so long, or the whole needs Pillow's word on what is too large."""
        return min(self.width, self.height) >= side or self.width * self.height > (Image.MAX_IMAGE_PIXELS or 0)


def _jpeg_frame(data: bytes) -> _Frame | None:
    """The frame header of a JPEG; None for other bytes, and where it is not plain to see.

    Read here, as to have Pillow open a small picture first takes a sixth of the time of decoding it. Segments are
    passed over by their length, so that a thumbnail within one (EXIF) is not mistaken for the picture.
    """
    if data[:3] != b"\xff\xd8\xff":
        return None
    place, exif = 2, b""
    while place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            height, width, components = _FRAME.unpack_from(data, place + 5)
            return _Frame(height, width, components, exif)
        if marker == 0xFF:  # any number of them may stand before a marker
            place += 1
        elif marker in _SEGMENTS:
            end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
            if not exif and data[place + 4 : place + 10] == b"Exif\0\0":
                exif = data[place + 4 : end]
            place = end
        else:
            return None
    return None


def _opened(data: bytes) -> Image.Image:
    """The picture with its header read; its pixels wait."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        pass
    try:
        with Image.open(io.BytesIO(data)) as other:
            kind = other.format
    except UnidentifiedImageError:
        if data[4:8] != b"ftyp":
            raise _RefusedError("is not a picture, or is damaged from its start") from None
        kind = "HEIC (a telephone's) or a film"
    raise _RefusedError(f"is a {kind}, which is not read; save it as JPEG, PNG or WebP")


def _whole_jpeg(data: bytes, frame: _Frame) -> np.ndarray:
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB")
    turn = _UPRIGHT.get(_orientation(frame.exif) or 1) if frame.exif else None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _orientation(exif: bytes) -> int | None:
    """How the camera was held, 1 to 8; None where EXIF does not say, or is damaged."""
    read = Image.Exif()
    try:
        read.load(exif)
        return read.get(_ORIENTATION)
    except Exception:  # it raises anything at all on broken tags
        return None


def _by_pillow(image: Image.Image, least_side: int) -> np.ndarray:
    image.draft(None, (least_side, least_side))
    return np.array(_as_rgb(ImageOps.exif_transpose(image)))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise _RefusedError("has 32 bits a pixel; save it with 8 or 16")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.new("RGBA", seen.size, "white")
        image.alpha_composite(seen)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    match error:
        case _RefusedError() | ChangedTarError():
            return str(error)
        case FileNotFoundError():
            return "is not there"
        case PermissionError():
            return "may not be read; give yourself the right to"
        case Image.DecompressionBombError():
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            return f"is too large, over {limit} megapixels; make it smaller"
        case _:
            said = str(error).partition("\n")[0] or type(error).__name__
            return f"is damaged or cut short ({said})"
