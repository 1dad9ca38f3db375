"""What the schema cannot say about listeners, and about hosts that are passed through unread. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.canonical import is_local, is_trust_domain, parse_authority, parse_spiffe_id
from proxy.catalog.matcher import Catalog
from proxy.model import HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from proxy.catalog.checks import Mistake
    from proxy.catalog.schema import Profile
    from proxy.documents import Place
    from proxy.settings import Listener, Listeners, Settings
    from proxy.tls_settings import ListenerTls

FIRST_FREE: Final = 3
"""Descriptors 0 to 2 are the standard streams."""
SPECIAL: Final = ("unix:", "fd:", "systemd:")
ANY_PORT: Final = ":0"


def listener_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Of `listeners`."""
    listeners = settings.listeners
    named: dict[Place, str] = {("listeners", "proxy"): listeners.proxy, ("listeners", "control"): listeners.control}
    if listeners.dns is not None:
        named["listeners", "dns"] = listeners.dns
    if listeners.api is not None:
        named["listeners", "api"] = listeners.api
        if not is_local(listeners.api.rpartition(":")[0].strip("[]")):
            yield ("listeners", "api"), "tokens would travel in the clear: listen on loopback, behind a proxy with TLS"
    if listeners.admin is not None:
        named["listeners", "admin"] = listeners.admin
    named |= {("listeners", "more", index, "at"): one.at for index, one in enumerate(listeners.more)}
    taken: set[str] = set()
    for place, at in named.items():
        if problem := _bad_address(at):
            yield place, problem
        elif at in taken and not at.endswith(ANY_PORT):
            yield place, "another listener has this address"
        taken.add(at)
    for index, listener in enumerate(listeners.more):
        for field, message in _listener(listener, settings):
            yield ("listeners", "more", index, field), message


def _bad_address(at: str) -> str | None:
    if at.startswith("fd:"):
        return None if int(at[3:]) >= FIRST_FREE else "descriptors 0 to 2 are the standard streams"
    if at.startswith(SPECIAL) or at.endswith(ANY_PORT) or parse_authority(at.encode(), None) is not None:
        return None
    return "an address is HOST:PORT, an IPv6 host in brackets"


def _listener(listener: Listener, settings: Settings) -> Iterator[tuple[str, str]]:
    unix, special = listener.at.startswith("unix:"), listener.at.startswith(SPECIAL)
    if listener.agent is not None:
        if listener.agent not in settings.agents:
            yield "agent", "there is no such agent under agents"
        if not special and not is_local(listener.at.rpartition(":")[0].strip("[]")):
            yield "agent", "whoever connects would be this agent: listen on a loopback address or a unix socket"
    elif listener.kind == "transparent":
        yield "agent", "a redirected connection cannot say whose it is: name the agent"
    if listener.uids and not (unix or special):
        yield "uids", "user ids are known on unix sockets alone"
    if any(uid < 0 for uid in listener.uids):
        yield "uids", "a user id is not negative"
    if listener.proxy_protocol and listener.kind != "transparent":
        yield "proxy_protocol", "only a transparent listener takes it"
    yield from _tls(listener, unix=unix)
    if unix and listener.kind == "transparent" and not listener.proxy_protocol:
        yield "proxy_protocol", "a unix socket has no original destination: set it, or listen on TCP"


def _tls(listener: Listener, *, unix: bool) -> Iterator[tuple[str, str]]:
    if listener.tls is None:
        return
    if listener.kind != "proxy" or unix:
        yield "tls", "only a proxy on TCP takes it"
    if listener.tls.trust_bundles and listener.agent is not None:
        yield "agent", "the client's certificate says whose a connection is"
    for domain in listener.tls.trust_bundles:
        if not is_trust_domain(domain):
            yield "tls", f"{domain} is not the name of a trust domain: lower-case letters, digits, dots, - and _"


def spiffe_mistakes(settings: Settings) -> Iterator[Mistake]:
    """Of the SPIFFE IDs of agents."""
    trusted = {domain for one in settings.listeners.more if one.tls is not None for domain in one.tls.trust_bundles}
    owners: dict[str, str] = {}
    for name, entry in settings.agents.items():
        if entry.spiffe is None:
            continue
        place, found = ("agents", name, "spiffe"), parse_spiffe_id(entry.spiffe)
        if found is None:
            yield place, "a SPIFFE ID is spiffe://TRUST-DOMAIN/PATH"
        elif found.trust_domain not in trusted:
            yield place, "no listener has the trust bundle of this trust domain"
        if owners.setdefault(entry.spiffe, name) != name:
            yield place, f"agent {owners[entry.spiffe]} has this SPIFFE ID too"


def anchored(listeners: Listeners, base: Path) -> Listeners:
    """`listeners` with the paths of their files counted from `base`."""
    return listeners.model_copy(
        update={
            "more": tuple(
                one if one.tls is None else one.model_copy(update={"tls": _anchored(one.tls, base)})
                for one in listeners.more
            )
        }
    )


def _anchored(tls: ListenerTls, base: Path) -> ListenerTls:
    bundles = {domain: base / path for domain, path in tls.trust_bundles.items()}
    return tls.model_copy(
        update={"certificate": base / tls.certificate, "key": base / tls.key, "trust_bundles": bundles}
    )


def unread_mistakes(settings: Settings, profiles: Mapping[str, Profile]) -> Iterator[Mistake]:
    """Of `passthrough_hosts`: exact names that no enabled profile manages."""
    catalog = Catalog(profiles[name] for name in settings.providers if name in profiles)
    for index, text in enumerate(settings.passthrough_hosts):
        place, authority = ("passthrough_hosts", index), parse_authority(text.encode(), HTTPS_PORT)
        if authority is None or text not in (authority.host, str(authority)):
            yield place, "a host is a lower-case ASCII name, with :PORT where that is not 443"
        elif authority.host.rpartition(".")[2].isdigit() or ":" in authority.host:
            yield place, "an address is in no ClientHello: name the host"
        elif catalog.host(authority.host, authority.port) is not None:
            yield place, "an enabled profile manages this host; its credential could not be injected"
