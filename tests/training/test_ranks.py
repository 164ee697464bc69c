"""How processes of several machines find a network between them."""

from pipeline.training.ranks import _interface_of, _own_address


def test_the_network_is_that_which_leads_to_the_others():
    assert _own_address("localhost") in ("127.0.0.1", "::1")
    assert _interface_of(_own_address("127.0.0.1")).startswith("lo")
