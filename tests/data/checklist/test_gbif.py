"""GBIF's answers, as they were recorded, from a server of the test's own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.common.errors import Stopped
from pipeline.data.checklist.gbif import look_up

_AVES = {"kingdom": "Animalia", "phylum": "Chordata", "class": "Aves"}
RECORDED = {
    ("match", "Calopteryx splendens"): {
        "usageKey": 1427067, "scientificName": "Calopteryx splendens (Harris, 1780)",
        "canonicalName": "Calopteryx splendens", "rank": "SPECIES", "status": "ACCEPTED", "confidence": 99,
        "matchType": "EXACT", "kingdom": "Animalia", "phylum": "Arthropoda", "order": "Odonata",
        "family": "Calopterygidae", "genus": "Calopteryx", "species": "Calopteryx splendens", "synonym": False,
        "class": "Insecta",
    },
    ("match", "Bufo americanus"): {
        "usageKey": 5217021, "acceptedUsageKey": 2422872, "scientificName": "Bufo americanus Holbrook, 1836",
        "canonicalName": "Bufo americanus", "rank": "SPECIES", "status": "SYNONYM", "confidence": 98,
        "matchType": "EXACT", "kingdom": "Animalia", "phylum": "Chordata", "order": "Anura", "family": "Bufonidae",
        "genus": "Anaxyrus", "species": "Anaxyrus americanus", "synonym": True, "class": "Amphibia",
    },
    ("match", "Chloris chloris"): {
        "confidence": 100, "note": "Multiple equal matches for Chloris chloris", "matchType": "NONE", "synonym": False,
        "alternatives": [
            {"usageKey": 11212714, "canonicalName": "Chloris chloris", "rank": "SPECIES", "matchType": "EXACT",
             "kingdom": "Plantae", "family": "Poaceae", "genus": "Chloris"},
            {"usageKey": 5845582, "canonicalName": "Chloris chloris", "rank": "SPECIES", "matchType": "EXACT",
             "family": "Fringillidae", "genus": "Chloris", **_AVES},
        ],
    },
    ("match", "Calopteryx splendns"): {
        "usageKey": 1427067, "canonicalName": "Calopteryx splendens", "rank": "SPECIES", "matchType": "FUZZY",
        "genus": "Calopteryx", "species": "Calopteryx splendens", "synonym": False,
    },
    ("search", "Gadwall"): {
        "results": [
            {"key": 8214667, "canonicalName": "Mareca strepera", "species": "Mareca strepera", "rank": "SPECIES",
             "taxonomicStatus": "ACCEPTED", "genus": "Mareca", **_AVES,
             "vernacularNames": [{"vernacularName": "Gadwall", "language": "eng"}]},
            {"key": 2498000, "canonicalName": "Anas sp", "rank": "SPECIES", "vernacularNames": []},
        ],
    },
}  # fmt: skip


class _Recorded(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = parse_qs(parts.query)
        (name,) = asked.get("name") or asked["q"]
        if name == "Broken":
            self.send_error(503)
            return
        what = parts.path.rsplit("/", 1)[-1]
        nothing = {"confidence": 100, "matchType": "NONE", "synonym": False} if what == "match" else {"results": []}
        said = json.dumps(RECORDED.get((what, name), nothing)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Recorded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize(
    ("label", "status", "found"),
    [
        ("Calopteryx_splendens", "matched", [("Calopteryx splendens", "Arthropoda", "1427067")]),
        ("Bufo americanus", "synonym", [("Anaxyrus americanus", "Chordata", "2422872")]),
        ("Chloris chloris", "homonym",
         [("Chloris chloris", None, "11212714"), ("Chloris chloris", "Chordata", "5845582")]),
        ("Calopteryx splendns", "doubtful", [("Calopteryx splendens", None, "1427067")]),
        ("046.Gadwall", "matched", [("Mareca strepera", "Chordata", "8214667")]),
        ("Nothing known", "unmatched", []),
    ],
)  # fmt: skip
def test_a_name_that_gbif_has(label: str, status: str, found: list, address: str) -> None:
    said = look_up(label, address)
    assert said.status == status
    assert [(one.name, one.taxonomy.get("phylum"), one.id) for one in said.taxa] == found


def test_gbif_that_does_not_answer(address: str) -> None:
    with pytest.raises(Stopped, match=r"GBIF .* does not answer: 503"):
        look_up("Broken", address)
