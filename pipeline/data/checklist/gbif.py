"""Names looked up at GBIF, the Global Biodiversity Information Facility (https://techdocs.gbif.org/en/openapi/v1/species).

Only class names are sent.
"""

from collections.abc import Mapping
from typing import Any

import requests

from pipeline.common.errors import Stopped
from pipeline.data.checklist.matching import Match, Taxon
from pipeline.data.checklist.names import key, words
from pipeline.data.taxonomy import DOUBTFUL, HOMONYM, MATCHED, RANKS, SYNONYM, UNMATCHED

ADDRESS = "https://api.gbif.org/v1"
_BACKBONE = "d7dddbf4-2cf0-4f39-9b2a-bb099caae36c"  # GBIF's own list
_SECONDS = 20
_MOST = 5


def look_up(label: str, address: str = ADDRESS) -> Match:
    """What GBIF has for a class of that name. Stopped where it does not answer."""
    spoken = " ".join(words(label))
    said = _asked(f"{address}/species/match", {"name": spoken, "verbose": "true"})
    kind = said.get("matchType")
    if kind == "EXACT":
        synonym = bool(said.get("synonym"))
        how = f"at GBIF, today's name of {said.get('canonicalName')}" if synonym else "at GBIF, scientific name"
        return Match(label, SYNONYM if synonym else MATCHED, [_taxon(said, how)])
    equal = [one for one in said.get("alternatives", ()) if one.get("matchType") == "EXACT"][:_MOST]
    if kind == "NONE" and equal:
        status = HOMONYM if len({one.get("kingdom") for one in equal}) > 1 else DOUBTFUL
        return Match(label, status, [_taxon(one, "at GBIF, one of several") for one in equal])
    if common := _by_common_name(label, spoken, address):
        return common
    if kind == "FUZZY" or (kind == "HIGHERRANK" and said.get("genus")):
        how = "misspelt" if kind == "FUZZY" else "the genus alone"
        return Match(label, DOUBTFUL, [_taxon(said, f"at GBIF, {how}")])
    return Match(label, UNMATCHED)


def _by_common_name(label: str, spoken: str, address: str) -> Match | None:
    """The species of which this is a common name; None where it is of none."""
    wanted = {"q": spoken, "qField": "VERNACULAR", "datasetKey": _BACKBONE, "rank": "SPECIES", "limit": 20}
    results = _asked(f"{address}/species/search", wanted).get("results", [])
    found = {
        one.get("species") or one.get("canonicalName"): one
        for one in results
        if any(key(words(name["vernacularName"])) == key(words(label)) for name in one.get("vernacularNames", ()))
    }
    if not found:
        return None
    how = "at GBIF, common name" + ("" if len(found) == 1 else " of several")
    taxa = [_taxon(one | {"common_name": spoken}, how) for one in list(found.values())[:_MOST]]
    return Match(label, MATCHED if len(found) == 1 else DOUBTFUL, taxa)


def _asked(address: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    try:
        said = requests.get(address, params=wanted, timeout=_SECONDS)
        said.raise_for_status()
        return dict(said.json())
    except (requests.RequestException, ValueError) as error:
        raise Stopped(f"GBIF ({address}) does not answer: {str(error).splitlines()[0]}") from None


def _taxon(said: Mapping[str, Any], how: str) -> Taxon:
    """A taxon as GBIF tells of it; of a synonym its ranks are those of the accepted name."""
    rank = str(said.get("rank", "")).lower()
    ranks = {one: said[one] for one in RANKS if said.get(one)}
    if rank in RANKS:
        ranks.setdefault(rank, said.get("canonicalName"))
    if said.get("common_name"):
        ranks["common_name"] = said["common_name"]
    number = said.get("acceptedUsageKey") or said.get("usageKey") or said.get("key") or ""
    name = ranks.get("species") if said.get("synonym") else None
    return Taxon(str(name or said.get("canonicalName", "")), how, rank, ranks, str(number))
