"""Which clients are told the bus's addresses: cluster/networks.py."""

from __future__ import annotations

import pytest

from cluster.networks import parse_networks

COMPOSE = "127.0.0.0/8 ::1/128 172.18.0.0/16 !172.18.0.1"


@pytest.mark.parametrize(
    ("peer", "internal"),
    [
        ("172.18.0.7", True),
        ("::ffff:172.18.0.7", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("172.18.0.1", False),
        ("::ffff:172.18.0.1", False),
        ("172.19.0.2", False),
        ("192.0.2.7", False),
        ("2001:db8::1", False),
        ("", False),
        ("/run/hashslot.sock", False),
    ],
)
def test_containers_are_inside_and_the_gateway_is_not(peer: str, internal: bool) -> None:
    assert parse_networks(COMPOSE).holds(peer) is internal


@pytest.mark.parametrize("peer", ["127.0.0.1", "172.18.0.7", "::1", ""])
def test_without_the_setting_nobody_is_inside(peer: str) -> None:
    assert not parse_networks("").holds(peer)


def test_exceptions_count_wherever_they_stand() -> None:
    assert parse_networks("!10.1.0.0/16 10.0.0.0/8 !10.2.0.1") == parse_networks("10.0.0.0/8 !10.1.0.0/16 !10.2.0.1")
    assert not parse_networks("!10.1.0.0/16 10.0.0.0/8").holds("10.1.2.3")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "node-0", "10.0.0.0/8,11.0.0.0/8", "!", "!!10.0.0.1"])
def test_what_is_no_network_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid network"):
        parse_networks(text)
