"""Works that a study has to cite, as BibTeX: those that are known for sure, and which of them were used."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("references.bib")
_ADDRESS = '@preamble{"\\providecommand{\\url}[1]{\\texttt{#1}}"}\n'


@cache
def entries() -> dict[str, str]:
    """Every known work by its key, as BibTeX has it."""
    found = re.findall(r"^(@\w+\{([^,]+),.*)$", _FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {key: entry for entry, key in found}


def of_preprint(text: str) -> list[str]:
    """The keys of the works whose number in arXiv a text names; empty where it names none that is known."""
    return [
        key
        for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", text)
        for key, entry in entries().items()
        if f"eprint={{{number}}}" in entry
    ]


def cited(text: str) -> list[str]:
    """The keys that a text cites as `[@key]` or `[@one; @other]`, each once."""
    return [key for key in dict.fromkeys(re.findall(r"(?<!\\)@([\w-]+)", text)) if key in entries()]


def bibtex(keys: Iterable[str]) -> str:
    """Works as a file: a field a line. LaTeX needs no package for its addresses."""
    return "\n".join([*(re.sub(r", (?=[a-z]+=\{)", ",\n  ", entries()[key])[:-1] + "\n}\n" for key in keys), _ADDRESS])
