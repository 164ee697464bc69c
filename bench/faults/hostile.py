"""Requests of every kind, good and bad, to a server that really runs: does it say what is wrong, and live on?

    python bench/faults/hostile.py --requests 2000               to `mlflow models serve`
    python bench/faults/hostile.py --requests 2000 --own         to `python -m pipeline.app`

A small model that reads columns and boxes is trained, promoted and served. Hypothesis draws pictures (each format that
is read, and damaged, cut short, enormous or none at all), columns, parameters, MLflow's forms and content types. Each
answer must be 200 with an answer a picture, or 4xx with one line that shows neither a path nor a trace of the program.
What MLflow's server answers before the model sees a request is counted apart, by name. Then come a body of 200 MB and
a good request, which must have the answer that it had at first. Ends with 1 where an answer was none of these.
"""

import argparse
import base64
import csv
import io
import json
import math
import re
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from served import make_model, of_mlflow, own

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_HUGE = 200 * 10**6  # bytes of one body
_LONGEST = 400  # letters of what is one line
_PATIENCE = 120  # seconds
_SHOWN = 5  # examples of what is wrong
# Of the program's inside: no answer may show it. (What a sender sent may be shown; none of it looks like this.)
_INSIDE = re.compile(
    r'Traceback|File "|site-packages|\.py\b|(?<![\w+/])/(?:home|root|usr|tmp|work|var|opt)/|0x[0-9a-f]{8}'
)


@dataclass(frozen=True)
class Request:
    """What is sent: a body with its headers, or a form with files. `pictures`: how many, where it may be answered."""

    body: bytes = b""
    content_type: str | None = JSON
    pictures: int | None = None
    form: dict[str, Any] | None = None
    files: list[tuple[str, tuple[str, bytes]]] = field(default_factory=list)


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    """A picture's bytes."""
    made = io.BytesIO()
    image.save(made, kind, **how)
    return made.getvalue()


def _good() -> dict[str, bytes]:
    """A picture of each kind that is read."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels)
    grey, deep = colour.convert("L"), Image.fromarray(pixels[..., 0].astype(np.uint16) << 8)
    clear = colour.copy()
    clear.putalpha(grey)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "JPEG": encoded(colour, "JPEG"),
        "JPEG turned": encoded(colour, "JPEG", exif=turned),
        "JPEG grey": encoded(grey, "JPEG"),
        "JPEG CMYK": encoded(colour.convert("CMYK"), "JPEG"),
        "JPEG progressive": encoded(colour, "JPEG", progressive=True),
        "PNG": encoded(colour, "PNG"),
        "PNG turned": encoded(colour, "PNG", exif=turned),
        "PNG transparent": encoded(clear, "PNG"),
        "PNG grey, transparent": encoded(clear.convert("LA"), "PNG"),
        "PNG palette": encoded(colour.quantize(16), "PNG", transparency=3),
        "PNG 16 bits": encoded(deep, "PNG"),
        "PNG 1 bit": encoded(colour.convert("1"), "PNG"),
        "WebP": encoded(colour, "WEBP"),
        "WebP transparent": encoded(clear, "WEBP", lossless=True),
        "BMP": encoded(colour, "BMP"),
        "TIFF": encoded(colour, "TIFF"),
        "TIFF 16 bits": encoded(deep, "TIFF"),
        "TIFF CMYK": encoded(colour.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }


GOOD = _good()


def _bad() -> dict[str, bytes]:
    """What is no picture, or none that is read."""
    vast = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    said = bytearray(GOOD["JPEG"])
    frame = said.index(b"\xff\xc0")
    said[frame + 5 : frame + 9] = struct.pack(">HH", 65_535, 65_535)
    return {
        "empty": b"",
        "text": b"no picture at all",
        "zip": b"PK\x03\x04" + bytes(300),
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>alert(1)</script></svg>",
        "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "GIF": encoded(Image.new("P", (9, 9)), "GIF"),
        "HEIC": b"\0\0\0\x18ftypheic" + bytes(60),
        "20,000 pixels a side": vast,
        "12,000 pixels a side": encoded(Image.new("1", (12_000, 12_000)), "PNG"),
        "a JPEG that says it is 65,535 pixels a side": bytes(said),
        "32 bits": encoded(Image.fromarray(np.zeros((9, 9), np.int32)), "TIFF"),
        "no pixels": b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(13),
        **{f"{name}, cut short": data[: len(data) // 2] for name, data in GOOD.items()},
        **{f"{name}, its head alone": data[:24] for name, data in GOOD.items()},
    }


BAD = _bad()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture with some of its bytes changed."""
    data = bytearray(draw(st.sampled_from(sorted(GOOD.values()))))
    for _ in range(draw(st.integers(1, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


good_pictures = st.sampled_from(list(GOOD.values()))
bad_pictures = st.one_of(st.sampled_from(list(BAD.values())), damaged(), st.binary(max_size=200))
pictures = st.one_of(good_pictures, good_pictures, bad_pictures)

_plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from([10**40, -1, 0, "", " ", "nan", "../../etc/passwd", "\x00", "🦉", "a" * 3000]),
)  # fmt: skip
anything = st.one_of(
    _plain,
    st.recursive(
        _plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=5,
    ),
)


def as_text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


good_texts = st.builds(
    lambda data, form: form(as_text(data)),
    good_pictures,
    st.sampled_from([str, lambda text: f"data:image/png;base64,{text}", lambda text: f"{text[:76]}\n{text[76:]}"]),
)
bad_texts = st.one_of(
    st.builds(as_text, bad_pictures),
    st.sampled_from(["%%%", "====", "data:,", "data:image/png;base64,", "ä", "Z" * 5, as_text(GOOD["PNG"])[:-5]]),
)
cells = st.one_of(good_texts, good_texts, good_texts, bad_texts, anything)

_good_columns = {
    "site": st.sampled_from(["north", "south", "elsewhere", "", None]),
    "depth": st.sampled_from([5, 7.5, "6", None]),
    "box_x": st.sampled_from([0, 0.1]),
    "box_y": st.sampled_from([0, 0.2]),
    "box_width": st.sampled_from([0.5, 0.8]),
    "box_height": st.sampled_from([0.5, 0.8]),
}
_boxed = st.fixed_dictionaries({name: of for name, of in _good_columns.items() if name.startswith("box")})
good_columns = st.one_of(
    st.just({}), _boxed, st.fixed_dictionaries({"site": _good_columns["site"], "depth": _good_columns["depth"]})
)
columns = st.one_of(
    good_columns,
    st.dictionaries(
        st.sampled_from([*_good_columns, "attributes_set", "path", "unknown", "ímage", "index", ""]),
        anything,
        max_size=4,
    ),
)
_good_params: dict[str, st.SearchStrategy[Any]] = {
    "top_k": st.integers(1, 9),
    "coverage": st.sampled_from([0.0, 0.5, 0.9]),
    "min_probability": st.floats(0, 1),
    "error": st.sampled_from([0.0, 0.2]),
    "only": st.lists(st.sampled_from(["owl", "Aves", "Strix aluco", "wren"]), max_size=3),
    "known_sent_away": st.sampled_from([0.0, 0.5]),
    "explain": st.booleans(),
    "together": st.booleans(),
}
good_params = st.fixed_dictionaries({}, optional=_good_params)
params = st.one_of(
    good_params,
    good_params,
    st.dictionaries(st.sampled_from([*_good_params, "topk", "", "image"]), anything, max_size=3),
    anything,
)


@st.composite
def in_a_form_of_mlflow(draw: st.DrawFn, *, only_good: bool = False) -> Request:
    """A request in one of MLflow's forms, as its sender means it, or (rarely) spoiled on the way."""
    rows = [
        {"image": draw(good_texts if only_good else cells)} | draw(good_columns if only_good else columns)
        for _ in range(draw(st.integers(1, 4) if only_good else st.integers(0, 4)))
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    form = draw(st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "instances", "csv"]))
    if form == "csv":
        made = io.StringIO()
        csv.writer(made).writerows([names, *([row.get(name) for name in names] for row in rows)])
        return Request(made.getvalue().encode(errors="replace"), CSV, len(rows))
    if form == "dataframe_split":
        table: Any = {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}
    else:
        table = rows
    asked = {form: table} | ({"params": draw(good_params if only_good else params)} if draw(st.booleans()) else {})
    return Request(json.dumps(asked).encode(), pictures=len(rows))


@st.composite
def spoiled(draw: st.DrawFn) -> Request:
    """A request of which the body, its form or its type is none."""
    asked = draw(in_a_form_of_mlflow())
    body = asked.body
    match draw(st.integers(0, 4)):
        case 0:
            body = body[: draw(st.integers(0, len(body)))]
        case 1:
            body = draw(st.binary(max_size=60))
        case 2:
            body = json.dumps(draw(anything)).encode()
        case 3:
            table = draw(anything)
            forms = ["inputs", "instances", "dataframe_split", "dataframe_records", "input"]
            keys = draw(st.lists(st.sampled_from(forms), max_size=2))
            body = json.dumps(dict.fromkeys(keys, table)).encode()
        case _:
            pass
    kinds = [JSON, CSV, PARQUET, None, "", "text/plain", f"{JSON}; charset=latin-1", f"{JSON}; x=1", "a/b", ";;"]
    return replace(asked, body=body, content_type=draw(st.sampled_from(kinds)), pictures=None)


def _many(count: int) -> Request:
    rows = [{"image": as_text(GOOD["PNG 1 bit"])}] * count
    return Request(json.dumps({"dataframe_records": rows}).encode(), pictures=count)


good_of_mlflow = in_a_form_of_mlflow(only_good=True)
odd = st.sampled_from([
    _many(64), _many(257), Request(b"[" * 100_000), Request(b'{"inputs": ' + b"1" * 5000 + b"}"),
    Request(json.dumps({"dataframe_split": {"columns": ["image", "image"], "data": [["", ""]]}}).encode()),
    Request(json.dumps({"inputs": {"image": [as_text(GOOD["JPEG"])] * 2, "depth": [1, 2]}}).encode(), pictures=2),
])  # fmt: skip
to_mlflow = st.one_of(
    in_a_form_of_mlflow(), in_a_form_of_mlflow(), in_a_form_of_mlflow(), good_of_mlflow, spoiled(), odd
)


@st.composite
def in_a_form_of_rest(draw: st.DrawFn, *, only_good: bool = False) -> Request:
    """A form for REST's `/api/predict`."""
    some = draw(st.lists(good_pictures if only_good else pictures, min_size=int(only_good), max_size=4))
    names = st.sampled_from(["a.jpg", "../b.png", "", "ü\x00.jpg", "c" * 200])
    files = [("files", (draw(names), data)) for data in some]
    asked: dict[str, Any] = dict(draw(good_params if only_good else st.one_of(good_params, good_params, params.filter(
        lambda one: isinstance(one, dict)))))  # fmt: skip
    for name in ("error", "known_sent_away", "coverage"):  # 0, which is none asked for, is MLflow's alone
        if not asked.get(name) or name != "coverage":
            asked.pop(name, None)
    for name, strategy in (("facts", columns), ("attributes", anything)):
        if not only_good and draw(st.integers(0, 3)) == 0:
            asked[name] = json.dumps(draw(st.one_of(strategy, anything)))
    if not only_good and draw(st.integers(0, 9)) == 0:
        asked[draw(st.sampled_from(["model", "epoch", "urls", "counts", "files", "other"]))] = draw(_plain)
    form = {
        name: value if isinstance(value, list) else str(value) for name, value in asked.items() if value is not None
    }
    form = {name: [str(one) for one in value] if isinstance(value, list) else value for name, value in form.items()}
    return Request(form=form, files=files, pictures=len(files))


good_to_own = in_a_form_of_rest(only_good=True)
to_own = st.one_of(in_a_form_of_rest(), in_a_form_of_rest(), good_to_own)


def drawn(strategy: st.SearchStrategy[Request], count: int, number: int = 0) -> list[Request]:
    """So many requests; the same for the same number."""
    found: list[Request] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(one: Request) -> None:
        found.append(one)

    collect()
    return found


class Reply(NamedTuple):
    """What came back."""

    status: int
    text: str


def send(session: requests.Session, address: str, request: Request) -> Reply:
    """Ask the server at an address: MLflow's `/invocations`, or for a form REST's `/api/predict`.

    Each by a connection of its own, as uvicorn ends one on which it answered 500. Status 0: no answer.
    """
    headers = {"Connection": "close"}
    try:
        if request.form is not None:
            files = request.files or [("none", ("", b""))]  # a form with files even so
            got = session.post(
                f"{address}/api/predict", data=request.form, files=files, headers=headers, timeout=_PATIENCE
            )
        else:
            headers |= {} if request.content_type is None else {"Content-Type": request.content_type}
            got = session.post(f"{address}/invocations", data=request.body, headers=headers, timeout=_PATIENCE)
    except requests.RequestException as error:
        return Reply(0, str(error))
    return Reply(got.status_code, got.text)


_OF_MLFLOW = (
    ("500 to JSON nested too deep, or a number of thousands of digits", 500, "^Internal Server Error$"),
    ("a trace of MLflow's, to CSV or Parquet that is none", 400, "Failed to parse input as a Pandas DataFrame"),
    ("many words, to a table that its signature does not allow", 400, "Failed to enforce schema|Failed to convert"),
    ("many words, to parameters that its signature does not allow", 400, "Invalid parameters found|Parameters must"),
    ("many words, to a body that is no such JSON", 400, '"BAD_REQUEST"'),
    ("text, to another content type", 415, ""),
)


def of_mlflow_itself(request: Request, reply: Reply) -> str | None:
    """Which of MLflow's own answers it is, given before the model sees a request; None: of none."""
    if request.content_type is None and reply.status == 500:
        return "500 to no content type"
    for name, status, pattern in _OF_MLFLOW:
        if reply.status == status and re.search(pattern, reply.text):
            return name
    return None


def complaint(request: Request, reply: Reply) -> str | None:
    """What is wrong with an answer; None: nothing."""
    if reply.status == 200:
        return _odd_answers(request, reply.text)
    if not 400 <= reply.status < 500:
        return f"status {reply.status}"
    try:
        said = json.loads(reply.text)
    except ValueError:
        return "no JSON"
    line = said.get("message", said.get("detail"))
    if not isinstance(line, str) or not line.strip():
        return "no sentence"
    if "\n" in line or len(line) > _LONGEST:
        return "not one line"
    return "shows the inside" if _INSIDE.search(reply.text) else None


def _odd_answers(request: Request, text: str) -> str | None:
    try:
        said = json.loads(text, parse_constant=lambda name: float("nan"))
        found = said.get("predictions", said.get("answers"))
        shares = [one["probability"] for answer in found for one in (answer, *answer["top_k"])]
        likeliest = all(answer["label"] == answer["top_k"][0]["label"] for answer in found)
    except (ValueError, KeyError, TypeError):
        return "an answer of another form"
    if "NaN" in text or not all(0 <= share <= 1 and math.isfinite(share) for share in shares):
        return "an odd probability"
    if not likeliest:
        return "another label than the likeliest"
    together = len(found) == 1 and b"together" in (request.body or json.dumps(request.form).encode())
    return "another number of answers" if request.pictures not in (None, len(found)) and not together else None


def play(address: str, asked: Sequence[Request], apart: Callable[[Request, Reply], str | None]) -> Counter[str]:
    """Send requests one by one; how many were `answered`, `refused`, `wrong`, or of a kind that is counted `apart`."""
    counts: Counter[str] = Counter({"answered": 0, "refused": 0, "wrong": 0})
    with requests.Session() as session:
        for request in asked:
            reply = send(session, address, request)
            wrong = complaint(request, reply)
            kind = apart(request, reply) if wrong else None
            if wrong and kind is None:
                counts["wrong"] += 1
                if counts["wrong"] <= _SHOWN:
                    print(f"{wrong}: {reply.status} {reply.text[:600]}", flush=True)
                    print(f"  to {request.content_type} {str(request.form or request.body)[:600]}", flush=True)
            else:
                counts[kind or ("answered" if reply.status == 200 else "refused")] += 1
    return counts


def huge(*, own: bool) -> Request:
    """A request of 200 MB, most of it one picture."""
    if own:
        return Request(form={}, files=[("files", ("huge.jpg", bytes(_HUGE)))], pictures=1)
    return Request(b'{"dataframe_records": [{"image": "' + b"A" * _HUGE + b'"}]}', pictures=1)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", action="store_true", help="ask this program's own server")
    parser.add_argument("--folder", type=Path, default=None, help="where the model lies, or is made")
    asked = parser.parse_args()
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="hostile-"))).resolve()
    make_model(folder)
    with (own if asked.own else of_mlflow)(folder) as server, requests.Session() as session:
        known = drawn(good_to_own if asked.own else good_of_mlflow, 1)[0]
        before = send(session, server.address, known)
        strategy = to_own if asked.own else to_mlflow
        apart = (lambda *_: None) if asked.own else of_mlflow_itself
        counts = play(server.address, drawn(strategy, asked.requests, asked.seed), apart)
        large = send(session, server.address, huge(own=asked.own))
        print(f"to 200 MB: {large.status} {large.text[:200]}")
        after = send(session, server.address, known)
    for name, number in counts.items():
        print(f"{number:6,} {name}")
    lives = after == before and before.status == 200
    print("it lives, and answers as at first" if lives else f"at first {before}, now {after}")
    sys.exit(0 if lives and not counts["wrong"] and 400 <= large.status < 500 else 1)


if __name__ == "__main__":
    main()
