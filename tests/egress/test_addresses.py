"""P2: the table of addresses (A-01 to A-05)."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.egress.addresses import Reach, classify, permitted, unopenable

TABLE = {
    "8.8.8.8": Reach.PUBLIC, "1.1.1.1": Reach.PUBLIC, "2606:4700::1111": Reach.PUBLIC, "172.15.255.255": Reach.PUBLIC,
    "172.32.0.0": Reach.PUBLIC, "100.63.255.255": Reach.PUBLIC, "168.63.129.15": Reach.PUBLIC,
    "10.0.0.0": Reach.PRIVATE, "10.255.255.255": Reach.PRIVATE, "172.16.0.0": Reach.PRIVATE, "172.31.255.255": Reach.PRIVATE,
    "192.168.0.1": Reach.PRIVATE, "100.64.0.0": Reach.PRIVATE, "fc00::1": Reach.PRIVATE, "fdff::1": Reach.PRIVATE, "198.18.0.1": Reach.PRIVATE,
    "127.0.0.1": Reach.LOOPBACK, "127.255.255.254": Reach.LOOPBACK, "::1": Reach.LOOPBACK,
    "169.254.169.254": Reach.METADATA, "169.254.170.2": Reach.METADATA, "169.254.170.23": Reach.METADATA, "168.63.129.16": Reach.METADATA,
    "100.100.100.200": Reach.METADATA, "192.0.0.192": Reach.METADATA, "fd00:ec2::254": Reach.METADATA, "fd00:ec2::23": Reach.METADATA,
    "fd20:ce::254": Reach.METADATA, "fe80::1": Reach.METADATA,
    "0.0.0.0": Reach.RESERVED, "::": Reach.RESERVED, "224.0.0.1": Reach.RESERVED, "255.255.255.255": Reach.RESERVED,
    "2001:db8::1": Reach.RESERVED, "2002:a9fe:a9fe::": Reach.RESERVED, "2001::1": Reach.RESERVED, "ff02::1": Reach.RESERVED,
    "::ffff:8.8.8.8": Reach.RESERVED, "::ffff:127.0.0.1": Reach.LOOPBACK, "::ffff:10.0.0.1": Reach.PRIVATE,
    "::ffff:169.254.169.254": Reach.METADATA, "64:ff9b::a9fe:a9fe": Reach.METADATA, "64:ff9b::808:808": Reach.RESERVED,
    "64:ff9b:1::1": Reach.RESERVED, "::127.0.0.1": Reach.RESERVED, "2606::5efe:7f00:1": Reach.LOOPBACK, "4000::1": Reach.RESERVED,
}  # fmt: skip


@pytest.mark.parametrize(("address", "reach"), TABLE.items())
def test_p2_the_table(address, reach):
    assert classify(ip_address(address)) is reach


@pytest.mark.parametrize("address", TABLE)
def test_p2_only_what_is_named_may_be_opened_and_metadata_never(address):
    parsed = ip_address(address)
    everything = ("0.0.0.0/0", "::/0")
    assert permitted(parsed, ()) == (TABLE[address] is Reach.PUBLIC)
    assert permitted(parsed, everything) == (TABLE[address] in (Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK))


@given(st.integers(0, 2**32 - 1), st.sampled_from([0xFFFF << 32, 0x0064FF9B << 96]))
def test_p2_an_address_inside_another_is_never_more_public_than_itself(number, prefix):
    inner = IPv4Address(number)
    hidden = ip_address(prefix | number)
    assert not permitted(hidden, ())
    if classify(inner) is not Reach.PUBLIC:
        assert classify(hidden) is classify(inner)


@pytest.mark.parametrize(
    "block", ["169.254.0.0/16", "0.0.0.0/0", "168.63.129.16", "fe80::/10", "::/0", "100.64.0.0/10"]
)
def test_a03_metadata_cannot_be_opened_by_configuration(block):
    assert unopenable(block) is not None


@pytest.mark.parametrize("block", ["10.1.2.0/24", "127.0.0.1", "fc00::/8", "192.168.1.5/32"])
def test_private_targets_can(block):
    assert unopenable(block) is None
