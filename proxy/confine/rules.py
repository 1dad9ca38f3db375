"""The packet filter: every TCP connection goes to the sidecar or its forwarder, nothing else leaves.

A rule is built once and has two forms, the text that `nft -f` reads and what the kernel reads, so that what is shown
is what is done.

Source: nft(8); linux/netfilter/nf_tables.h for the numbers of attributes.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from proxy.confine.netlink import NLM_F_APPEND, NLM_F_CREATE, Message, attribute, nested, number, text, transaction

TABLE: Final = "briefcased"
DNS: Final = 53
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 2, 3, 6
_INET: Final = 1
_OUTPUT: Final = 3
_DROP, _ACCEPT, _RETURN = 0, 1, -5
_TCP, _UDP, _ICMPV6 = 6, 17, 58
_PROTOCOLS: Final = {_TCP: "tcp", _UDP: "udp", _ICMPV6: "icmpv6"}
_META_SKUID, _META_NFPROTO, _META_L4PROTO = 10, 15, 16
_NETWORK, _TRANSPORT = 1, 2
_REGISTER: Final = 1
_EQUAL, _DIFFERENT = 0, 1
_PORT_GIVEN: Final = 2
_ESTABLISHED_OR_RELATED: Final = 0x2 | 0x4
_ICMPX, _PORT_UNREACHABLE = 2, 1
_NEIGHBOURS: Final = {133: "nd-router-solicit", 135: "nd-neighbor-solicit", 136: "nd-neighbor-advert"}
"""RFC 4861: without these the sidecar's own IPv6 does not work. Only the kernel and CAP_NET_RAW can send them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A match or a verdict: as text, and as expressions of nf_tables."""

    words: str
    expressions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain on the output hook."""

    name: str
    kind: str
    priority: int
    policy: str
    rules: tuple[tuple[Part, ...], ...]


def ruleset(
    *, tcp_port: int, dns_port: int | None = None, except_uid: int | None = None, lock: bool = True
) -> list[Chain]:
    """What sends every TCP connection of this namespace to `tcp_port`, but for loopback.

    Args:
        tcp_port: of 127.0.0.1 and ::1; it finds the original destination with SO_ORIGINAL_DST.
        dns_port: gets every query over UDP and TCP, to whatever server, loopback too; None rejects those that
            would leave over UDP.
        except_uid: the sidecar's user where it lives in this namespace: not redirected, not rejected.
        lock: reject all else: other UDP (QUIC), ICMP, other protocols. Answers to connections from outside pass.
    """
    ours = [] if except_uid is None else [_user(except_uid)]
    redirect = [(user, _verdict("return", _RETURN)) for user in ours]
    if dns_port is not None:
        redirect += [(_port(protocol, DNS), _redirect(dns_port)) for protocol in (_UDP, _TCP)]
    redirect += [(here, _verdict("return", _RETURN)) for here in _loopback()]
    redirect.append((_protocol(_TCP), _redirect(tcp_port)))
    chains = [Chain("redirected", "nat", -100, "accept", tuple(redirect))]
    if lock:
        accept = [*ours, *_loopback(), _established(), *(_neighbour(kind) for kind in _NEIGHBOURS)]
        rules = [(part, _verdict("accept", _ACCEPT)) for part in accept]
        chains.append(Chain("locked", "filter", 0, "drop", (*rules, (_reject(),))))
    return chains


def as_text(chains: list[Chain]) -> str:
    """A file for `nft -f`, which replaces the table whole."""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for chain in chains:
        lines.append(f"  chain {chain.name} {{")
        lines.append(f"    type {chain.kind} hook output priority {chain.priority}; policy {chain.policy};")
        lines += [f"    {' '.join(part.words for part in rule)}" for rule in chain.rules]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def install(chains: list[Chain]) -> None:
    """Put them in force in the current network namespace, in place of those that were there, in one step.

    Raises:
        ConfineError: not permitted, or the kernel has no nf_tables.
    """
    table = text(1, TABLE)
    messages = [_message(_NEWTABLE, table), _message(_DELTABLE, table), _message(_NEWTABLE, table)]
    for chain in chains:
        hook = nested(4, number(1, _OUTPUT), number(2, chain.priority))
        policy = number(5, _DROP if chain.policy == "drop" else _ACCEPT)
        messages.append(_message(_NEWCHAIN, table + text(3, chain.name) + hook + policy + text(7, chain.kind)))
        for rule in chain.rules:
            expressions = nested(4, *(nested(1, one) for part in rule for one in part.expressions))
            messages.append(_message(_NEWRULE, table + text(2, chain.name) + expressions))
    transaction(messages)


def _message(kind: int, attributes: bytes) -> Message:
    flags = {_DELTABLE: 0, _NEWRULE: NLM_F_CREATE | NLM_F_APPEND}.get(kind, NLM_F_CREATE)
    return kind, flags, struct.pack("!BBH", _INET, 0, 0) + attributes


def _expression(name: str, *attributes: bytes) -> bytes:
    return text(1, name) + nested(2, *attributes)


def _meta(key: int) -> bytes:
    return _expression("meta", number(2, key), number(1, _REGISTER))


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", number(1, _REGISTER), number(2, base), number(3, offset), number(4, length))


def _compare(value: bytes, operation: int = _EQUAL) -> bytes:
    return _expression("cmp", number(1, _REGISTER), number(2, operation), nested(3, attribute(1, value)))


def _user(uid: int) -> Part:
    return Part(f"meta skuid {uid}", (_meta(_META_SKUID), _compare(struct.pack("=I", uid))))


def _protocol(protocol: int) -> Part:
    return Part(f"meta l4proto {_PROTOCOLS[protocol]}", (_meta(_META_L4PROTO), _compare(bytes([protocol]))))


def _port(protocol: int, port: int) -> Part:
    matched = (*_protocol(protocol).expressions, _payload(_TRANSPORT, 2, 2), _compare(struct.pack("!H", port)))
    return Part(f"{_PROTOCOLS[protocol]} dport {port}", matched)


def _loopback() -> tuple[Part, Part]:
    four, six = (_meta(_META_NFPROTO), _compare(bytes([socket.AF_INET]))), (_meta(_META_NFPROTO), _compare(b"\x0a"))
    one = ip_address("::1").packed
    return (
        Part("ip daddr 127.0.0.0/8", (*four, _payload(_NETWORK, 16, 1), _compare(b"\x7f"))),
        Part("ip6 daddr ::1", (*six, _payload(_NETWORK, 24, 16), _compare(one))),
    )


def _established() -> Part:
    """Answers to what came from outside: what is sent from here first is redirected or rejected at its first packet."""
    mask, zero = struct.pack("=I", _ESTABLISHED_OR_RELATED), bytes(4)
    masked = _expression(
        "bitwise", number(1, _REGISTER), number(2, _REGISTER), number(3, 4),
        nested(4, attribute(1, mask)), nested(5, attribute(1, zero)),
    )  # fmt: skip
    state = _expression("ct", number(2, 0), number(1, _REGISTER))
    return Part("ct state established,related", (state, masked, _compare(zero, _DIFFERENT)))


def _neighbour(kind: int) -> Part:
    matched = (*_protocol(_ICMPV6).expressions, _payload(_TRANSPORT, 0, 1), _compare(bytes([kind])))
    return Part(f"icmpv6 type {_NEIGHBOURS[kind]}", matched)


def _redirect(port: int) -> Part:
    loaded = _expression("immediate", number(1, _REGISTER), nested(2, attribute(1, struct.pack("!H", port))))
    return Part(f"redirect to :{port}", (loaded, _expression("redir", number(1, _REGISTER), number(3, _PORT_GIVEN))))


def _verdict(word: str, code: int) -> Part:
    return Part(word, (_expression("immediate", number(1, 0), nested(2, nested(2, number(1, code)))),))


def _reject() -> Part:
    return Part("reject", (_expression("reject", number(1, _ICMPX), attribute(2, bytes([_PORT_UNREACHABLE]))),))
