"""What the schema cannot say about a profile, and what two profiles may not do to each other. Pure."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from publicsuffixlist import PublicSuffixList

from proxy.canonical import parse_host
from proxy.catalog.matcher import WILDCARD
from proxy.catalog.template import name_of, parse_template
from proxy.credentials.frames import FramesCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.hmac import HmacCredential
from proxy.credentials.kind import named_in
from proxy.credentials.several import SeveralCredentials
from proxy.credentials.standin import RANDOM, make
from proxy.credentials.totp import TotpCredential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.catalog.schema import HostRule, Operation, Profile
    from proxy.credentials.kind import Kind
    from proxy.documents import Place

type Mistake = tuple[Place, str]
MIN_RANDOM: Final = 12
"""Fewer random characters would let stand-ins of two agents meet, or be found in ordinary text."""
NEVER_INJECTED: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def profile_mistakes(profile: Profile) -> Iterator[Mistake]:
    """Every mistake in one profile."""
    yield from _hosts(profile)
    yield from _variables(profile)
    yield from _stand_ins(profile)
    yield from _credentials(profile)
    yield from _operations(profile)


def bad_host(pattern: str) -> str | None:
    """What is wrong with a host or one-label wildcard, or None."""
    name = pattern.removeprefix(WILDCARD)
    if parse_host(name.encode("utf-8")) != name and parse_host(f"[{name}]".encode()) != name:
        return "a host is a lower-case ASCII name or an address; *. in front stands for exactly one label"
    if pattern.startswith(WILDCARD) and name.rpartition(".")[2].isdigit():
        return "a wildcard stands before a name, not an address"
    if pattern.startswith(WILDCARD) and ("." not in name or _suffixes().is_public(name)):
        return "a wildcard below a public suffix would cover other people's hosts"
    return None


def _hosts(profile: Profile) -> Iterator[Mistake]:
    seen: set[tuple[str, int]] = set()
    for index, rule in enumerate(profile.hosts):
        if (problem := bad_host(rule.host)) is not None:
            yield ("hosts", index, "host"), problem
        if (rule.host, rule.port) in seen:
            yield ("hosts", index, "host"), "this host stands twice"
        seen.add((rule.host, rule.port))
        for at, prefix in enumerate(rule.paths):
            if not prefix.startswith("/") or "//" in prefix or "*" in prefix:
                yield ("hosts", index, "paths", at), "a path prefix starts with / and has no patterns"
        if rule.http_upgrade and (rule.scheme, rule.port) != ("https", 443):
            yield ("hosts", index, "http_upgrade"), "only an https host on port 443 can be upgraded to"


def _variables(profile: Profile) -> Iterator[Mistake]:
    for name, variable in profile.variables.items():
        try:
            fits = re.compile(variable.pattern).fullmatch
        except re.error:
            yield ("variables", name, "pattern"), "not a regular expression"
            continue
        for place in ("default", "example"):
            value = getattr(variable, place)
            if value and not fits(value):
                yield ("variables", name, place), "it does not match the pattern"
    for index, rule in enumerate(profile.hosts):
        for name in sorted(named_in(rule.account_host or "") - profile.variables.keys()):
            yield ("hosts", index, "account_host"), f"there is no variable named {name}"


def _stand_ins(profile: Profile) -> Iterator[Mistake]:
    for name, slot in profile.secrets.items():
        given = make(slot.stand_in, key=b"", purpose="")
        drawn = sum(int(length) for _, length in RANDOM.findall(slot.stand_in.template or ""))
        if slot.stand_in.template is not None and drawn < MIN_RANDOM:
            yield ("secrets", name, "stand_in", "template"), f"fewer than {MIN_RANDOM} random characters"
        if not given.isascii() or not given.isprintable() or " " in given:
            yield ("secrets", name, "stand_in"), "a stand-in is printable ASCII without spaces"


def _credentials(profile: Profile) -> Iterator[Mistake]:
    for name, credential in profile.credentials.items():
        named = credential.secret_names() | credential.optional_secret_names()
        for secret in sorted(named - profile.secrets.keys()):
            yield ("credentials", name), f"there is no secret named {secret}"
        for variable in sorted(credential.variable_names() - profile.variables.keys()):
            yield ("credentials", name), f"there is no variable named {variable}"
        if not named and not credential.mints and not credential.key_names():
            yield ("credentials", name), "it names no secret"
        parts = credential.parts if isinstance(credential, SeveralCredentials) else (credential,)
        for part in parts:
            for header in _headers_of(part):
                if header.lower() in NEVER_INJECTED:
                    yield ("credentials", name, "header"), "this header belongs to the transport"


def _headers_of(part: Kind) -> tuple[str, ...]:
    """The headers that a profile has a kind set by name."""
    if isinstance(part, HeaderCredential):
        return (part.header, *part.add_headers)
    if isinstance(part, TotpCredential):
        return () if part.header is None else (part.header,)
    return tuple(part.headers) if isinstance(part, HmacCredential) else ()


def _operations(profile: Profile) -> Iterator[Mistake]:
    hosts = {rule.host for rule in profile.hosts}
    ids: set[str] = set()
    for index, operation in enumerate(profile.operations):
        place: Place = ("operations", index)
        if operation.id in ids:
            yield (*place, "id"), "this id stands twice"
        ids.add(operation.id)
        try:
            parse_template(operation.path)
        except ValueError as problem:
            yield (*place, "path"), str(problem)
        for at, host in enumerate(operation.hosts):
            if host not in hosts:
                yield (*place, "hosts", at), "the profile does not have this host"
        for at, name in enumerate(operation.credentials):
            if name not in profile.credentials:
                yield (*place, "credentials", at), f"there is no credential named {name}"
        yield from _frames(profile, operation, place)
        if operation.anonymous and operation.credentials:
            yield (*place, "anonymous"), "an anonymous operation has no credentials"
        for earlier in profile.operations[:index]:
            if _same_calls(profile, earlier, operation):
                yield (*place, "path"), f"the same calls as operation {earlier.id}"
                break


def _frames(profile: Profile, operation: Operation, place: Place) -> Iterator[Mistake]:
    """A secret leaves in messages only on a WebSocket over TLS."""
    for at, name in enumerate(operation.credentials):
        if not isinstance(profile.credentials.get(name), FramesCredential):
            continue
        if not operation.websocket:
            yield (*place, "credentials", at), "kind frames needs websocket: true"
        named = [rule for rule in profile.hosts if not operation.hosts or rule.host in operation.hosts]
        if any(rule.scheme != "https" for rule in named):
            yield (*place, "credentials", at), "kind frames needs https hosts"


def _same_calls(profile: Profile, one: Operation, other: Operation) -> bool:
    """Whether the two cover the same calls with nothing to tell them apart."""
    hosts = {rule.host for rule in profile.hosts}
    return (
        _form(one.path) == _form(other.path)
        and bool(set(one.methods) & set(other.methods))
        and bool(set(one.hosts or hosts) & set(other.hosts or hosts))
        and one.websocket == other.websocket
        and len(one.query) + len(one.headers) == len(other.query) + len(other.headers)
        and all(other.query.get(name, value) in ("*", value) or value == "*" for name, value in one.query.items())
        and all(other.headers.get(name, value) in ("*", value) or value == "*" for name, value in one.headers.items())
    )


@cache
def _form(template: str) -> tuple[str, ...]:
    return tuple("{}" if name_of(piece) else piece for piece in template.split("/"))


def overlaps(one: HostRule, other: HostRule) -> bool:
    """Whether a request could belong to both rules (D-11)."""
    if one.port != other.port or not _hosts_meet(one.host, other.host):
        return False
    return not set(one.paths).isdisjoint(other.paths)  # of two that cover a path, the longer prefix wins


def _hosts_meet(one: str, other: str) -> bool:
    if one == other:
        return True
    for wild, exact in ((one, other), (other, one)):
        if wild.startswith(WILDCARD) and exact.partition(".")[2] == wild.removeprefix(WILDCARD):
            return False  # an exact host goes before a wildcard: no ambiguity
    return False
