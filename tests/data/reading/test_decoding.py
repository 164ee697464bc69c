import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.reading import decoding
from pipeline.data.reading.decoding import UnreadablePicture, decode, decode_at


def ramp(width: int = 64, height: int = 48) -> Image.Image:
    """Red grows to the right, green downwards: any turn or mix-up shows."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 90)], axis=-1).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(pixels: np.ndarray, expected: Image.Image) -> float:
    wanted = np.array(expected.convert("RGB"))
    assert pixels.dtype == np.uint8
    assert pixels.shape == wanted.shape
    return float(np.abs(pixels.astype(float) - wanted).mean())


@pytest.mark.parametrize(
    ("kind", "options", "least"),
    [
        ("JPEG", {"quality": 95}, 2),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
    ],
)
def test_formats(kind: str, options: dict, least: float) -> None:
    assert difference(decode(encoded(ramp(), kind, **options), 48), ramp()) <= least


@pytest.mark.parametrize("mode", ["L", "CMYK", "1"])
def test_jpeg_modes(mode: str) -> None:
    picture = ramp().convert(mode)
    data = encoded(picture.convert("L") if mode == "1" else picture, "JPEG", quality=95)
    assert difference(decode(data, 48), picture) < 4


def test_a_palette() -> None:
    picture = ramp().quantize(32)
    assert difference(decode(encoded(picture, "PNG"), 48), picture) == 0


def test_sixteen_bits() -> None:
    values = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    data = encoded(Image.fromarray(values), "PNG")
    assert difference(decode(data, 48), Image.fromarray((values >> 8).astype(np.uint8))) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    picture = ramp().convert(mode)
    picture.putalpha(0)
    assert (decode(encoded(picture, "PNG"), 48) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("least_side", [48, 4])
def test_exif_turns(orientation: int, kind: str, least_side: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(ramp(), kind, exif=exif)
    pixels = decode(data, least_side)
    shown = Image.open(io.BytesIO(data))
    turned = (shown.height, shown.width) if orientation < 5 else (shown.width, shown.height)
    assert (pixels.shape[0] < pixels.shape[1]) == (turned[0] < turned[1])
    red, green, _ = np.moveaxis(pixels.astype(float), 2, 0)
    grows = {  # where red and green grow: +1 to the right or downwards, along columns or rows
        1: ("x+", "y+"), 2: ("x-", "y+"), 3: ("x-", "y-"), 4: ("x+", "y-"),
        5: ("y+", "x+"), 6: ("y+", "x-"), 7: ("y-", "x-"), 8: ("y-", "x+"),
    }[orientation]  # fmt: skip
    assert (_growth(red), _growth(green)) == grows


def _growth(channel: np.ndarray) -> str:
    across, down = (channel[:, -1] - channel[:, 0]).mean(), (channel[-1] - channel[0]).mean()
    axis, by = ("x", across) if abs(across) > abs(down) else ("y", down)
    return f"{axis}{'+' if by > 0 else '-'}"


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment, its first."""
    return data[:2] + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content + data[2:]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the pictures that Pillow is asked to open from now on."""
    asked: list[int] = []
    really = Image.open
    monkeypatch.setattr(
        Image, "open", lambda file, **more: (asked.append(len(file.getvalue())), really(file, **more))[1]
    )
    return asked


PLAIN = encoded(ramp(), "JPEG", quality=95)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        encoded(ramp(), "JPEG", quality=95, progressive=True),
        encoded(ramp(), "JPEG", quality=95, subsampling=0, optimize=True, comment=b"a comment"),
        encoded(ramp().convert("L"), "JPEG", quality=95),
        with_segment(PLAIN, 0xE1, b"Exif\0\0" + encoded(Image.new("CMYK", (9, 9)), "JPEG")),
        with_segment(PLAIN, 0xE1, b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03"),
        with_segment(with_segment(PLAIN, 0xFE, b"\xff" * 60_000), 0xED, b"Photoshop 3.0\0" + bytes(60_000)),
        PLAIN[:2] + b"\xff" * 7 + PLAIN[2:],
    ],
    ids=["plain", "progressive", "own tables", "grey", "a thumbnail", "another frame", "long segments", "fill bytes"],
)
def test_jpegs_near_the_wanted_size_need_no_pillow(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    asked = counting(monkeypatch)
    assert difference(decode(data, 48), picture) < 1
    assert not asked


def frame_at(data: bytes) -> int:
    """Where the frame header of a plain JPEG is."""
    return data.index(b"\xff\xc0\x00\x11\x08")


def said_to_be(width: int, height: int) -> bytes:
    """A small JPEG whose frame header says another size."""
    place = frame_at(PLAIN) + 5
    return PLAIN[:place] + height.to_bytes(2) + width.to_bytes(2) + PLAIN[place + 4 :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (said_to_be(20_000, 20_000), "is too large, over 178 megapixels"),
        (said_to_be(0, 48), "is not a picture|is damaged"),
        (said_to_be(64, 0), "is not a picture|is damaged"),
        *((PLAIN[:end], "is not a picture|is damaged") for end in (1, 2, 3, 4, 20, frame_at(PLAIN) + 6, 400, -100)),
    ],
)
@pytest.mark.parametrize("least_side", [16, 48, 10_000])
def test_jpegs_that_lie_or_end_are_named(data: bytes, says: str, least_side: int) -> None:
    with pytest.raises(UnreadablePicture, match=says):
        decode(data, least_side)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(2, 300))
def test_whatever_the_bytes_it_is_a_picture_or_named(noise: bytes, place: int) -> None:
    data = PLAIN[:place] + noise + PLAIN[place + len(noise) :]
    with suppress(UnreadablePicture):
        assert decode(data, 48).shape[2] == 3


def test_a_jpeg_of_one_colour_is_small_and_yet_large() -> None:
    """Few bytes say nothing of the pixels."""
    data = encoded(Image.new("L", (8_000, 6_000), 90), "JPEG", optimize=True)
    assert len(data) < 2**20
    assert decode(data, 48).shape == (750, 1000, 3)


def test_large_jpegs_come_scaled_but_never_too_small() -> None:
    pixels = decode(encoded(ramp(1600, 1200), "JPEG", quality=95), 90)
    assert pixels.shape == (150, 200, 3)
    assert difference(pixels, ramp(1600, 1200).resize((200, 150))) < 2


@pytest.mark.parametrize(
    ("kind", "options", "sides", "times"),
    [
        ("PNG", {}, [40, 200], 1),
        ("JPEG", {}, [190, 200], 1),  # read whole for both
        ("JPEG", {}, [20, 24, 90], 2),  # at an eighth for two of them, at a quarter
        ("JPEG", {"progressive": True}, [20, 200], 2),
    ],
)
def test_for_several_sides_it_is_decoded_once_where_they_take_the_same(
    kind: str, options: dict, sides: list[int], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(ramp(620, 600), kind, **options)
    alone = [decode(data, side) for side in sides]
    asked, decoded = [], decoding._decode
    monkeypatch.setattr(decoding, "_decode", lambda *given: asked.append(1) or decoded(*given))
    for one, beside in zip(alone, decode_at(data, sides), strict=True):
        np.testing.assert_array_equal(one, beside)
    assert len(asked) == times


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"<html>no such page</html>", "is not a picture"),
        (encoded(ramp(), "GIF"), "is a GIF, which is not read; save it as"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "is a HEIC .*, which is not read; save it as"),
        (encoded(ramp(), "JPEG")[:-400], "is damaged or cut short"),
        (encoded(ramp(), "PNG")[:-60], "is damaged or cut short"),
        (encoded(Image.new("1", (20_000, 20_000)), "PNG"), "is too large, over 178 megapixels"),
        (encoded(Image.new("F", (8, 8)), "TIFF"), "has 32 bits"),
    ],
    ids=["empty", "html", "gif", "heic", "jpeg cut short", "png cut short", "bomb", "float"],
)
def test_what_cannot_be_read_is_named(data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "it.jpg").write_bytes(data)
    with pytest.raises(UnreadablePicture, match=says) as told:
        decode(tmp_path / "it.jpg", 48)
    assert told.value.path == str(tmp_path / "it.jpg")
    with pytest.raises(UnreadablePicture, match=f"the picture {says}"):
        decode(data, 48)


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match=r"x\.jpg is not there"):
        decode(tmp_path / "x.jpg", 48)
    with pytest.raises(UnreadablePicture, match="is a folder"):
        decode(tmp_path, 48)
