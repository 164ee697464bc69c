"""What may be asked of a training from outside: a closed list of keys, each with what may stand under it.

Nothing else of a config can be set: not where things are kept, no process, no file but in the named folders. A text is
quoted, so that Hydra's grammar takes it for that text and nothing more.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.cli.composed import composed
from pipeline.cli.quoting import quoted
from pipeline.common.errors import BadInput, did_you_mean
from pipeline.config.keys import CONF, GROUPS
from pipeline.web.folders import TABLES, Outside, inside
from pipeline.web.words import Words, words_in

_LONGEST = 500  # letters of a text
Given = Mapping[str, str | int | float | list[str]]


@dataclass(frozen=True)
class Field:
    """A key and what it takes: a number from `least` to `most`, one of `answers`, a file that ends so, a text.

    `of` are the answers to `data` that have the key; of all, where it names none.
    """

    key: str
    kind: Literal["choice", "whole", "number", "text", "names", "folder", "file"]
    least: float = 0
    most: float = 0
    answers: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    of: tuple[str, ...] = ()

    def choices(self) -> tuple[str, ...]:
        """What it can be, where that is a choice."""
        if self.key not in GROUPS:
            return self.answers
        return tuple(sorted(file.stem for file in (CONF / self.key).glob("*.yaml") if file.stem != "base"))


_WEIGHTS = (".safetensors", ".pth", ".pt")  # the latter are read without code in them
PICTURES = (
    Field("data", "choice"),
    Field("data.root", "folder"),
    Field("data.file", "file", endings=TABLES, of=("table", "camera_traps")),
    Field("data.path_column", "text", of=("table",)),
    Field("data.label_column", "text", of=("table",)),
    Field("data.label_depth", "whole", 1, 20, of=("folder",)),
    Field("data.from_path", "text", of=("folder", "table", "lists")),
    Field("data.taxonomy", "file", endings=TABLES[:3]),
    Field("data.metadata", "names"),
    Field("data.split.val", "number", 0, 0.9),
    Field("data.split.test", "number", 0, 0.9),
    Field("data.split.group", "text"),
    Field("data.small_classes", "choice", answers=("raise", "drop", "train_only")),
    Field("data.on_unreadable", "choice", answers=("raise", "skip")),
    Field("data.per_class", "whole", 1, 10**6),
    Field("data.image_size", "whole", 8, 1024, answers=("auto",)),
)
LEARNING = (
    Field("model", "choice"),
    Field("model.weights_file", "file", endings=_WEIGHTS),
    Field("regime", "choice"),
    Field("head", "choice"),
    Field("augmentation", "choice"),
    Field("trainer.epochs", "whole", 1, 1000),
    Field("trainer.batch_size", "whole", 1, 1024),
    Field("optimizer", "choice"),
    Field("optimizer.lr", "number", 1e-8, 10),
    Field("scheduler", "choice"),
    Field("loss", "choice"),
    Field("metadata", "choice"),
    Field("trainer.patience", "whole", 1, 1000),
    Field("seed", "whole", 0, 2**31 - 1),
)
FIELDS = {field.key: field for field in (*PICTURES, *LEARNING)}


class Wrong(BadInput):
    """What a field was given that it does not take; `told` in a visitor's language."""

    def __init__(self, key: str, why: str, **facts: object) -> None:
        self.key, self.why, self.facts = key, why, facts
        super().__init__(f"{key}: {self.told(words_in('en'))}")

    def told(self, t: Words) -> str:
        """Why, as plain text."""
        text = t("train.wrong." + self.why, **self.facts)
        return text.unescape() if hasattr(text, "unescape") else text


def arguments(given: Given, folders: Mapping[str, Path], allowed: Iterable[Field] = FIELDS.values()) -> list[str]:
    """The command line that says what was given, its keys in the list's order; what is empty says nothing.

    Raises Wrong, also where the data set is left out, so that nobody starts one by chance.
    """
    fields = {field.key: field for field in allowed}
    for key in given:
        if key not in fields:
            raise Wrong(key[:100], "unknown", hint=did_you_mean(key[:100], fields))
    if not given.get("data"):
        raise Wrong("data", "needed")
    if given.get("data.file") and not given.get("data.root"):  # else a table of answers could name any file of the disk
        given = {**given, "data.root": str(given["data.file"]).rpartition("/")[0]}
    said = {key: _override(field, given[key], folders) for key, field in fields.items() if key in given}
    return [f"{key}={value}" for key, value in said.items() if value]


def about(given: Given) -> str:
    """What a training is of, in a word or two."""
    return str(given.get("data.file") or given.get("data.root") or given.get("data") or "digits")


def checked(command: str, typed: list[str]) -> list[str]:
    """The same, if the command would take it; BadInput as it would say it."""
    composed(command, typed)
    return typed


def defaults(given: Given, folders: Mapping[str, Path]) -> dict[str, str]:
    """What stands under each key where nothing else is said, for the choices made. Raises Wrong, and BadInput."""
    choices = {key: value for key, value in given.items() if value and FIELDS[key].kind == "choice"}
    choices.setdefault("data", "digits")
    typed = arguments(choices, folders)  # before its data names a file
    needed = [f"{key}=none" for key in _needed(str(choices["data"]))]
    plain = composed("train", [*typed, *needed]).model_dump(mode="json")
    return {key: _shown(key, plain) for key in FIELDS if key not in ("data.root", "data.file")}


def _needed(source: str) -> list[str]:
    """The paths that a data set's file leaves to its user."""
    text = (CONF / "data" / f"{source}.yaml").read_text(encoding="utf-8")
    return [f"data.{key}" for key in re.findall(r"^(root|file): \?\?\?", text, re.MULTILINE)]


def _shown(key: str, plain: object) -> str:
    for part in ("data.source" if key == "data" else f"{key}.name" if key in GROUPS else key).split("."):
        plain = plain.get(part) if isinstance(plain, dict) else None
    if isinstance(plain, list):
        return ", ".join(map(str, plain))
    return "" if plain is None else str(plain)


def _override(field: Field, given: str | int | float | list[str], folders: Mapping[str, Path]) -> str:
    """A value in Hydra's grammar; nothing for one that is empty."""
    if field.kind == "names":
        names = given if isinstance(given, list) else str(given).split(",")
        _text(field, ",".join(names))
        kept = [name.strip() for name in names if name.strip()]
        return f"[{','.join(map(quoted, kept))}]" if kept else ""
    if isinstance(given, list | bool):
        raise Wrong(field.key, "text")
    text = _text(field, str(given))
    if not text.strip():
        return ""
    match field.kind:
        case "choice":
            return _choice(field, text)
        case "whole" | "number":
            return text if text in field.answers else _number(field, text)
        case "folder" | "file":
            return quoted(str(_path(field, text, folders)))
    if not text.strip("\"' "):  # which commands take for nothing
        raise Wrong(field.key, "text")
    return quoted(text)


def _choice(field: Field, text: str) -> str:
    if text not in field.choices():
        raise Wrong(field.key, "choice", given=text, hint=did_you_mean(text, field.choices()))
    return text


def _number(field: Field, text: str) -> str:
    """As people type it, with a point or a comma."""
    whole = field.kind == "whole"
    form = r"\s*[0-9]{1,10}\s*" if whole else r"\s*[0-9]*[.,]?[0-9]+([eE]-?[0-9]{1,3})?\s*"
    bounds = {"least": f"{field.least:.12g}", "most": f"{field.most:.12g}"}
    if not re.fullmatch(form, text):
        raise Wrong(field.key, field.kind, **bounds)
    number = int(text) if whole else float(text.replace(",", "."))
    if not field.least <= number <= field.most:
        raise Wrong(field.key, "range", **bounds)
    return repr(number)


def _text(field: Field, text: str) -> str:
    if len(text) > _LONGEST:
        raise Wrong(field.key, "long", most=_LONGEST)
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise Wrong(field.key, "text")
    return text


def _path(field: Field, name: str, folders: Mapping[str, Path]) -> Path:
    try:
        path = inside(name, folders)
    except Outside:
        raise Wrong(field.key, "outside", given=name) from None
    if field.kind == "folder" and not path.is_dir():
        raise Wrong(field.key, "folder", given=name)
    if field.kind == "file" and not (path.is_file() and path.name.lower().endswith(field.endings)):
        raise Wrong(field.key, "file", given=name, endings=", ".join(field.endings))
    return path
