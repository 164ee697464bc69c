"""REST under whatever can be sent: nothing fails on the server's side, and every answer is as it is described.

Longer, by hand, while the page is open: `schemathesis run http://127.0.0.1:7860/api/openapi.json`, and
`python bench/faults/hostile.py --own`.
"""

from importlib import import_module
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

FAULTS = Path(__file__).parents[2] / "bench" / "faults"
EXAMPLES = 12  # of each operation; what is sent is the same in each run
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_rest_answers_whatever_is_sent_as_it_is_described(trained, served, monkeypatch):
    """And pictures of every kind, which schemathesis knows nothing of."""
    monkeypatch.syspath_prepend(FAULTS)
    hostile = import_module("hostile")
    load_all_checks()
    with served() as address:
        api = schemathesis.openapi.from_url(f"{address}/api/openapi.json")
        operations = [one.ok() for one in api.get_all_operations()]
        assert len(operations) >= 4
        for operation in operations:

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def holds(case):
                case.validate_response(case.call(timeout=60), checks=CHECKS)

            holds()
        counts = hostile.play(address, hostile.drawn(hostile.to_own, 40), lambda *_: None)
    assert counts["wrong"] == 0
    assert min(counts["answered"], counts["refused"]) > 0
