"""Ways out through the network, each tried towards its target and towards the control."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.confine.probe.greetings import dns_query, echo_request, hello_for, over_tcp, quic_initial
from proxy.confine.probe.judge import judge, judge_dns, resolves
from proxy.confine.probe.plan import CONTROL, METADATA, NAME, RESOLVERS
from proxy.confine.probe.reply import Reply, ask, converse, dial, exchange, opened
from proxy.confine.probe.ways import Attempt, Seen, State, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.confine.probe.judge import Judged
    from proxy.confine.probe.plan import Plan

type Trial = Callable[[], Attempt]
LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain"})


def network_trials(plan: Plan) -> Iterator[Trial]:
    """Everything that is tried without the sidecar; each trial may be run in a thread of its own."""
    timeout_s = plan.timeout_s
    for way, targets in (("tcp", plan.tcp), ("tcp6", plan.tcp6), ("metadata", METADATA)):
        for target in targets:
            yield partial(over_tcp_to, way, target, timeout_s=timeout_s)
    for address in RESOLVERS:
        resolver = Target(address, 53, known=True)
        yield partial(dns_over_udp, "dns_udp", resolver, timeout_s=timeout_s)
        yield partial(dns_over_tcp, resolver, timeout_s=timeout_s)
        yield partial(quic, Target(address, 443, known=True), timeout_s=timeout_s)
        yield partial(icmp, Target(address, 0, known=True), timeout_s=timeout_s)
    for resolver in own_resolvers(plan):
        yield partial(dns_over_udp, "dns_resolver", resolver, timeout_s=timeout_s)
    yield partial(ignores_proxy, plan)
    for target in no_proxy_targets(plan):
        yield partial(over_tcp_to, "no_proxy", target, timeout_s=timeout_s)


def over_tcp_to(way: str, target: Target, *, timeout_s: float, name: str = NAME) -> Attempt:
    """Connect; where the control connects as well, speak to both and compare."""
    control = Target(CONTROL[target.version], target.port)
    replies = dial(target, timeout_s=timeout_s), dial(control, timeout_s=timeout_s)
    if replies[0].seen is replies[1].seen is Seen.CONNECTED:
        hello = hello_for(target.port, name)
        replies = converse(target, hello, timeout_s=timeout_s), converse(control, hello, timeout_s=timeout_s)
    return _attempt(way, str(target), judge(*replies, known=target.known))


def dns_over_udp(way: str, resolver: Target, *, timeout_s: float) -> Attempt:
    """Ask `resolver` for the root's name servers."""
    control = Target(CONTROL[resolver.version], resolver.port)
    query = dns_query()
    replies = ask(resolver, query, timeout_s=timeout_s), ask(control, query, timeout_s=timeout_s)
    if way == "dns_resolver":  # it is there to be asked: what counts is whether it knows names outside
        return _attempt(way, str(resolver), own_resolver(replies[0]))
    return _attempt(way, str(resolver), judge_dns(*replies, known=resolver.known))


def own_resolver(reply: Reply) -> Judged:
    """What an answer of the machine's own resolver says. Pure."""
    judged = judge_dns(reply, reply, known=True)
    return judged if judged[0] is State.OPEN else (State.CLOSED, reply.seen)


def dns_over_tcp(resolver: Target, *, timeout_s: float) -> Attempt:
    """The same over TCP. A connection that leads out is open, whatever is spoken."""
    control = Target(CONTROL[resolver.version], resolver.port)
    query = over_tcp(dns_query())
    there, nowhere = (converse(each, query, timeout_s=timeout_s) for each in (resolver, control))
    if resolves(there.data[2:]):
        return Attempt("dns_tcp", str(resolver), State.OPEN, Seen.ANSWERED)
    return _attempt("dns_tcp", str(resolver), judge(there, nowhere, known=resolver.known))


def quic(target: Target, *, timeout_s: float) -> Attempt:
    """Send the first datagram of HTTP/3."""
    control = Target(CONTROL[target.version], target.port)
    datagram = quic_initial()
    replies = ask(target, datagram, timeout_s=timeout_s), ask(control, datagram, timeout_s=timeout_s)
    return _attempt("quic", str(target), judge(*replies, known=target.known))


def icmp(target: Target, *, timeout_s: float) -> Attempt:
    """Send an echo request over a ping socket, else over a raw one."""
    control = Target(CONTROL[target.version], 0)
    request = echo_request(target.version)
    replies = _echo(target, request, timeout_s), _echo(control, request, timeout_s)
    return _attempt("icmp", target.address, judge(*replies, known=target.known))


def _echo(target: Target, request: bytes, timeout_s: float) -> Reply:
    refused = Reply(Seen.NOT_PERMITTED)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            reply = exchange(opened(target, kind, timeout_s, socket.IPPROTO_ICMP), target, request)
        except OSError:
            continue
        if reply.seen is not Seen.NOT_PERMITTED:
            return Reply(reply.seen, reply.data[-16:])  # what was sent along: an identifier differs by socket
    return refused


def ignores_proxy(plan: Plan) -> Attempt:
    """Do what a client does that knows no proxy: resolve a name, and connect to what comes back."""
    name = NAME
    try:
        found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except OSError:
        return Attempt("ignores_proxy", f"{name}:443", State.CLOSED, Seen.NO_ROUTE)
    judged = [
        over_tcp_to("ignores_proxy", Target(str(entry[4][0]), 443, known=True), timeout_s=plan.timeout_s)
        for entry in found[:2]
    ]
    best = next((attempt for attempt in judged if attempt.state is State.OPEN), judged[0])
    return Attempt("ignores_proxy", f"{name}:443", best.state, best.seen)


def own_resolvers(plan: Plan) -> list[Target]:
    """The name servers of `/etc/resolv.conf`, at most three (resolv.conf(5))."""
    found = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in plan.resolv_conf.read_text("ascii").splitlines():
            words = line.split()
            if words[:1] == ["nameserver"] and len(words) > 1:
                with contextlib.suppress(ValueError):
                    found.append(Target(str(ipaddress.ip_address(words[1])), 53, known=True))
    return found[:3]


def no_proxy_targets(plan: Plan) -> list[Target]:
    """Where a client goes directly because NO_PROXY says so; names are resolved, loopback is left out."""
    listed = plan.environment.get("no_proxy") or plan.environment.get("NO_PROXY") or ""
    found: list[Target] = []
    for entry in listed.split(",")[:32]:
        host, port = _place(entry.strip())
        if host and host not in LOOPBACK_NAMES:
            found += [Target(address, port, known=True) for address in _addresses(host)]
    return [target for target in found if not ipaddress.ip_address(target.address).is_loopback]


def _place(entry: str) -> tuple[str, int]:
    """Host and port of one entry; a block stands for its first host."""
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(entry, strict=False)
        return str(next(iter(network.hosts()), network.network_address)), 443
    with contextlib.suppress(ValueError):
        parts = urlsplit(f"//{entry}")
        return (parts.hostname or "").removeprefix("*").removeprefix("."), parts.port or 443
    return "", 443


def _addresses(host: str) -> list[str]:
    with contextlib.suppress(OSError, UnicodeError):
        return [
            str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)[:2]
        ]
    return []


def _attempt(way: str, target: str, judged: Judged) -> Attempt:
    return Attempt(way, target, *judged)
