"""Names as they are compared: letters alone, whatever a folder, a list or a language does between and about them."""

import re
import unicodedata

_NUMBER = re.compile(r"^\d+[._ -]+(?=\D)")  # 001.Black_footed_Albatross
_POSSESSIVE = re.compile(r"['’`´]s\b", re.IGNORECASE)  # Brewer's Blackbird is Brewer Blackbird elsewhere
_SUBGENUS = re.compile(r"^(\w+)[\s_]*\([A-Z][\w-]+\)(?=[\s_])")  # Conus (Conus) marmoreus
_INSIDE = re.compile(r"(?<=[a-z])(?=[A-Z])")  # HerringGull
_BETWEEN = frozenset(("et", "and", "ex", "in", "de", "da", "del", "der", "den", "du", "la", "le", "van", "von", "zu"))
_MARKS = "subsp|ssp|var|f|forma"
_SCIENTIFIC = re.compile(  # a genus, epithets; what follows are authors
    r"^\s*((?:×\s*)?[A-ZÀ-Þ][\w-]+)(?:\s+\([A-Z][\w-]+\))?"
    rf"((?:\s+(?:(?:{_MARKS})\.\s+|×\s*)?(?!(?:{'|'.join(sorted(_BETWEEN))}|auct|non|sensu)\b)[a-zà-þ][\w-]+){{0,2}})"
)
UNNAMED = ("sp", "spp", "indet")  # of a genus: some species, which is not said
LIKE = ("cf", "aff")  # of a species: like it, perhaps another


def words(name: str) -> list[str]:
    """The words of a name, their letters' case as it was."""
    plain = _SUBGENUS.sub(r"\1", _NUMBER.sub("", name.strip()))
    plain = _INSIDE.sub(" ", _POSSESSIVE.sub("", plain))
    plain = "".join(one for one in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(one))
    return re.findall(r"[^\W\d_]+|\d+", plain)


def key(parts: list[str]) -> str:
    """What names are compared by: their letters alone."""
    return "".join(parts).casefold()


def are_authors(rest: list[str]) -> bool:
    """Whether what follows a scientific name are its authors and the year, by their capitals."""
    return all(one[0].isupper() or one in _BETWEEN or (one.isdigit() and len(one) == 4) for one in rest)


def without_authors(name: str) -> str:
    """A published scientific name without authors, year and subgenus; as it is where it is none such."""
    found = _SCIENTIFIC.match(name)
    return name.strip() if found is None else " ".join(f"{found[1]}{found[2]}".split())
