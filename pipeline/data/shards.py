"""The pictures in a folder's tar files: each tar is looked through once, and remembered while it stays as it is.

What is remembered lies in `tars` in the user's cache folder, a Parquet file a tar, and may be deleted at any time.
"""

import io
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from posixpath import normpath

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.common.atomic import write_atomically
from pipeline.common.cache_folder import BoundedFolder, cache_folder
from pipeline.common.errors import BadInput
from pipeline.common.paths import check_utf8
from pipeline.common.wording import counted
from pipeline.data.files import SUFFIXES, not_a_file
from pipeline.data.members import HEADER, OFFSET, TAR, header_of, opened

_VERSION = 1  # part of each name: raise it when what is remembered changes
_MOST_GB, _ENDING = 2, ".members.parquet"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_AFTER_END = 1 << 20  # bytes of zeros that tar may write after its end
_HIDDEN = re.compile(r"(?:^|/)\.(?!\./)")  # .DS_Store; not ../a.jpg, which is refused
_LOOKED_AT = 20  # files, of millions perhaps
_FORM = pa.schema({
    "path": pa.large_string(), "folder": pa.dictionary(pa.int32(), pa.string()),
    "label": pa.dictionary(pa.int32(), pa.string()), OFFSET: pa.int64(), "bytes": pa.int64(), HEADER: pa.int64(),
})  # fmt: skip

log = logging.getLogger(__name__)


def tars_in(folder: Path) -> list[str]:
    """The names of the tars right in a folder. BadInput where all that there is of them is compressed."""
    names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    tars = [name for name in names if name.lower().endswith(".tar") and not (folder / name).is_dir()]
    packed = next((name for name in names if name.lower().endswith(_COMPRESSED)), None)
    if packed and not tars:
        raise _compressed(folder / packed)
    return tars


def look_through(folder: Path, tars: Sequence[str], label_field: str = "label") -> pa.Table:
    """Their pictures in the order in which they lie: `path`, `folder`, `label`, `bytes`, and where (`IN_TARS`).

    `label` is what KEY.cls beside KEY.jpg says, or the field `label_field` of KEY.json; missing where neither is there.
    Raises `BadInput` for tars that are compressed, damaged or cut short, and where two pictures have one name.
    """
    kept = BoundedFolder(cache_folder() / "tars", _MOST_GB, _ENDING)
    place = kept.ready()
    opened.cache_clear()  # those that are there now are to be read
    states = {tar: _state(folder / tar) for tar in tars}
    files = {}
    for tar, state in states.items():
        times = state.st_mtime_ns, state.st_ctime_ns  # of which no program can set the second
        facts = (_VERSION, str((folder / tar).absolute()), state.st_size, *times, label_field)
        files[tar] = place / f"{blake2b(repr(facts).encode(), digest_size=16).hexdigest()}{_ENDING}"
    known = {tar: _remembered(files[tar]) for tar in tars}
    new = [tar for tar in tars if known[tar] is None]
    if new:
        size = sum(states[tar].st_size for tar in new)
        log.info("looking through %s once (%.1f GB)", counted(len(new), "tar"), size / 1e9)
    parts = list[pa.Table]()
    for tar in tars:
        found = known[tar]
        if found is None:
            found = _looked_through(folder / tar, label_field)
            kept.make_room(found.nbytes)
            write_atomically(files[tar], partial(pq.write_table, found, compression="zstd"))
        name = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(len(parts), pa.int32()), len(found)), list(tars))
        parts.append(found.append_column(TAR, name))
    held = pa.concat_tables(parts).unify_dictionaries()
    _check_names(held, folder)
    return held


def places_in_tars(root: Path, names: pd.Series) -> pd.DataFrame | None:
    """Where in the tars of `root` the pictures of those `names` (n,) lie: `bytes` and the columns `IN_TARS`.

    `TAR` is missing for a picture that is in none. None where they are files, or there is no tar.
    """
    if any((root / name).exists() for name in names.head(_LOOKED_AT)):
        return None
    tars = tars_in(root)
    if not tars or not len(names):
        return None
    held = look_through(root, tars)
    found = pc.index_in(pa.array(names, pa.large_string()), held["path"].combine_chunks())
    return held.select([TAR, OFFSET, "bytes", HEADER]).take(found).to_pandas()


def _state(tar: Path) -> os.stat_result:
    try:
        state = tar.stat()
        wrong = not_a_file(state.st_mode) or ("" if os.access(tar, os.R_OK) else "may not be read")
    except OSError as error:
        wrong = f"cannot be followed ({error.strerror})"
    if wrong:
        raise BadInput(f"data.root: {tar} {wrong}; mend it, or take it out of the folder")
    return state


def _remembered(file: Path) -> pa.Table | None:
    """None where it is not there, or damaged."""
    try:
        found = pq.read_table(file, schema=_FORM)
        os.utime(file)  # used just now
    except (OSError, pa.ArrowException):
        return None
    return found


def _looked_through(tar: Path, label_field: str) -> pa.Table:
    """One tar's pictures, of the form `_FORM`."""
    paths, stems, places = list[str](), list[str](), list[tuple[int, int, int]]()
    said, broken = dict[str, str](), dict[str, BadInput]()
    with tar.open("rb", buffering=0) as file:  # only headers are read: what lies between is passed over
        for path, one in _members(tar, file):
            stem, dot, ending = path.rpartition(".")
            if (dot + ending).lower() in SUFFIXES:
                if not one.isreg() or one.issparse():
                    raise BadInput(
                        f"data.root: {path} in {tar} is a link, or kept in pieces; make the tar with "
                        "tar --dereference --hard-dereference"
                    )
                check_utf8(path, f"data.root: {tar}")
                header = os.pread(file.fileno(), tarfile.BLOCKSIZE, one.offset_data - tarfile.BLOCKSIZE)
                paths.append(path)
                stems.append(stem)
                places.append((one.offset_data, one.size, header_of(header)))
            elif one.isreg() and (ending == "cls" or (ending == "json" and stem not in said)):
                data = os.pread(file.fileno(), one.size, one.offset_data)
                try:
                    label = _label(data, ending, label_field, f"{path} in {tar}")
                except BadInput as error:
                    broken[stem] = error
                else:
                    said |= {} if label is None else {stem: label}
    if wrong := next((broken[stem] for stem in stems if stem in broken), None):  # not annotations.json
        raise wrong
    columns = [
        pa.array(paths, pa.large_string()),
        pa.array([path.rpartition("/")[0] for path in paths], pa.string()).dictionary_encode(),
        pa.array([said.get(stem) for stem in stems], pa.string()).dictionary_encode(),
        *(pa.array([place[number] for place in places], pa.int64()) for number in range(3)),
    ]
    return pa.table(dict(zip(_FORM.names, columns, strict=True))).cast(_FORM)


def _members(tar: Path, file: io.RawIOBase) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """What a tar holds, by its path, but for folders and what is hidden. BadInput for one that is not whole."""
    if (file.read(6) or b"").startswith(_MAGIC):
        raise _compressed(tar)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as members:
            while (one := members.next()) is not None:
                members.members.clear()  # type: ignore[attr-defined]  # it would keep millions
                path = normpath(one.name)
                if not one.isdir() and not _HIDDEN.search(path):
                    yield path, one
            end = members.offset
    except (tarfile.TarError, ValueError) as error:  # the second: of extended headers
        raise BadInput(f"data.root: {tar} is no whole tar ({error}); make it anew") from None
    file.seek(end)  # tar stops without a word at what is no header
    after = file.read(_AFTER_END) or b""
    if len(after) < tarfile.BLOCKSIZE or after.strip(b"\0"):
        raise BadInput(f"data.root: {tar} is cut short or damaged at byte {end:,}; make it anew")


def _label(data: bytes, ending: str, field: str, where: str) -> str | None:
    """What is said of the picture beside; None for a JSON without that field."""
    try:
        text = data.decode("utf-8-sig")
        held = {field: text} if ending == "cls" else json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"data.root: {where} says no class ({error}); correct it, and make the tar anew") from None
    label = held.get(field) if isinstance(held, dict) else None
    return None if label is None else str(label).strip() or None


def _check_names(held: pa.Table, folder: Path) -> None:
    """BadInput where two pictures have one name."""
    if pc.count_distinct(held["path"]).as_py() == len(held):
        return
    rows = held.select(["path", TAR]).to_pandas()
    twice = rows[rows["path"] == rows["path"][rows["path"].duplicated()].iloc[0]]
    where = " and ".join(twice[TAR].astype(str).unique())
    raise BadInput(
        f"data.root: {twice['path'].iloc[0]} stands {len(twice)} times in {where} of {folder}; give each picture a "
        "name of its own"
    )


def _compressed(tar: Path) -> BadInput:
    return BadInput(f"data.root: {tar} is compressed, so that it is read from its start alone; unpack it to a .tar")
