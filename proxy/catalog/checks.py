"""What the schema cannot say about a profile, and what two profiles may not do to each other. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from publicsuffixlist import PublicSuffixList

from proxy.canonical import parse_host
from proxy.catalog.matcher import WILDCARD, discriminators
from proxy.catalog.metering import usage_mistakes
from proxy.catalog.patterns import BadPatternError, fits
from proxy.catalog.sdk_environment import environment_mistakes
from proxy.catalog.template import name_of, parse_template
from proxy.catalog.validation.loading import bodies_meet, conflicting_fields, operation_mistakes
from proxy.credentials.frames import FramesCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.hmac import HmacCredential
from proxy.credentials.kind import named_in
from proxy.credentials.request_jwt import RequestJwtCredential
from proxy.credentials.several import SeveralCredentials
from proxy.credentials.standin import RANDOM, make
from proxy.credentials.token_kind import TokenKind
from proxy.credentials.totp import TotpCredential
from proxy.egress.addresses import is_metadata
from proxy.model import INTERNAL

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
def _suffixes(*, private: bool) -> PublicSuffixList:
    return PublicSuffixList(only_icann=not private)


def profile_mistakes(profile: Profile) -> Iterator[Mistake]:
    """Every mistake in one profile."""
    yield from _hosts(profile)
    yield from _variables(profile)
    yield from _stand_ins(profile)
    yield from _credentials(profile)
    yield from _operations(profile)
    yield from conflicting_fields(profile)
    yield from _metadata(profile)
    yield from _token_hosts(profile)
    yield from environment_mistakes(profile)
    yield from usage_mistakes(profile)


def bad_host(pattern: str, *, bound: bool = False) -> str | None:
    """What is wrong with a host or one-label wildcard, or None.

    `bound`: what is sent there is of no use elsewhere; a wildcard may then stand below a name under which a company
    gives its customers names (a private section of the list of public suffixes).
    """
    name = pattern.removeprefix(WILDCARD)
    if parse_host(name.encode("utf-8")) != name and parse_host(f"[{name}]".encode()) != name:
        return "a host is a lower-case ASCII name or an address; *. in front stands for exactly one label"
    if pattern.startswith(WILDCARD) and name.rpartition(".")[2].isdigit():
        return "a wildcard stands before a name, not an address"
    if pattern.startswith(WILDCARD) and ("." not in name or _suffixes(private=not bound).is_public(name)):
        return "a wildcard below a public suffix would cover other people's hosts"
    return None


def _hosts(profile: Profile) -> Iterator[Mistake]:
    seen: set[tuple[str, int]] = set()
    for index, rule in enumerate(profile.hosts):
        if (problem := bad_host(rule.host, bound=_bound(profile, rule))) is not None:
            yield ("hosts", index, "host"), problem
        if rule.host == INTERNAL:
            yield ("hosts", index, "host"), "this is where the sidecar itself answers"
        if (rule.host, rule.port) in seen:
            yield ("hosts", index, "host"), "this host stands twice"
        seen.add((rule.host, rule.port))
        for at, prefix in enumerate(rule.paths):
            if not prefix.startswith("/") or "//" in prefix or "*" in prefix:
                yield ("hosts", index, "paths", at), "a path prefix starts with / and has no patterns"
        if rule.http_upgrade and (rule.scheme, rule.port) != ("https", 443):
            yield ("hosts", index, "http_upgrade"), "only an https host on port 443 can be upgraded to"


def _bound(profile: Profile, rule: HostRule) -> bool:
    """Whether everything that is sent to the hosts of `rule` is of no use elsewhere."""
    here = [o for o in profile.operations if not o.anonymous and o.applies_to(rule)]
    names = {name for operation in here for name in operation.credentials or profile.credentials}
    return all(kind.bound_to_request for name, kind in profile.credentials.items() if name in names)


def _variables(profile: Profile) -> Iterator[Mistake]:
    for name, variable in profile.variables.items():
        for place in ("default", "example"):
            try:
                if not fits(variable.pattern, getattr(variable, place) or "") and getattr(variable, place):
                    yield ("variables", name, place), "it does not match the pattern"
            except BadPatternError as error:
                yield ("variables", name, "pattern"), str(error)
                break
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
        named = credential.secret_names() | credential.optional_secret_names() | credential.stand_in_names()
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
    if isinstance(part, HeaderCredential | TokenKind | RequestJwtCredential):
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
        yield from operation_mistakes(operation, place)
        yield from _frames(profile, operation, place)
        yield from _answer(profile, operation, place)
        yield from _capture(profile, operation, place)
        if operation.anonymous and operation.credentials:
            yield (*place, "anonymous"), "an anonymous operation has no credentials"
        for earlier in profile.operations[:index]:
            if _same_calls(profile, earlier, operation):
                yield (*place, "path"), f"the same calls as operation {earlier.id}"
                break


def _answer(profile: Profile, operation: Operation, place: Place) -> Iterator[Mistake]:
    """An answer names what the profile has; what is always answered here never has a credential."""
    spec = operation.answer
    if spec is None:
        return
    for slot in sorted(spec.slots() - profile.secrets.keys()):
        yield (*place, "answer"), f"there is no secret named {slot}"
    for variable in sorted(spec.variable_names() - profile.variables.keys()):
        yield (*place, "answer"), f"there is no variable named {variable}"
    if operation.websocket:
        yield (*place, "answer"), "a WebSocket is not answered here"
    if operation.credentials and not operation.may_leave:
        yield (*place, "credentials"), "what is answered here has no credentials"


def _capture(profile: Profile, operation: Operation, place: Place) -> Iterator[Mistake]:
    """What is captured has a slot; the tokens of a login are held by stand-ins that are there before."""
    spec = operation.capture
    if spec is None:
        return
    kinds = profile.credentials.values()
    used = {slot for kind in kinds for slot in kind.secret_names() | kind.optional_secret_names()}
    for pointer, slot in spec.secrets.items():
        where = (*place, "capture", "secrets", pointer)
        if slot not in profile.secrets:
            yield where, f"there is no secret named {slot}"
        elif spec.grant is not None and not profile.secrets[slot].minted:
            yield where, "a token of a login fills a slot that is minted"
        elif spec.grant is None and slot not in used:
            yield where, "no credential of the profile uses this secret"
    if spec.grant is not None and not (spec.grant in profile.credentials and profile.credentials[spec.grant].durable):
        yield (*place, "capture", "grant"), "there is no credential of this name that keeps a grant"
    if operation.websocket or not operation.may_leave:
        yield (*place, "capture"), "there is no reply of the provider to capture"


def stays(profile: Profile, rule: HostRule) -> bool:
    """Whether no call to this host is ever sent: all are answered here."""
    here = [one for one in profile.operations if one.applies_to(rule)]
    return not any(operation.may_leave for operation in here)


def _metadata(profile: Profile) -> Iterator[Mistake]:
    """Metadata services are never dialled (A-03): a profile may have one only to answer for it."""
    for index, rule in enumerate(profile.hosts):
        if is_metadata(rule.host) and not stays(profile, rule):
            yield ("hosts", index, "host"), "a metadata service: every operation of it must be answered by the sidecar"


def _token_hosts(profile: Profile) -> Iterator[Mistake]:
    """Whose call it is must be told by what stands in it."""
    for index, rule in enumerate(profile.hosts):
        here = [operation for operation in profile.operations if operation.applies_to(rule)]
        if rule.token_host and not (here and all(operation.reads_body for operation in here)):
            yield ("hosts", index, "token_host"), "operations name this host, and each has an answer or a capture"
        if rule.token_host and rule.host.startswith(WILDCARD):
            yield ("hosts", index, "host"), "a token host is one host"


def _frames(profile: Profile, operation: Operation, place: Place) -> Iterator[Mistake]:
    """A secret leaves in messages only on a WebSocket over TLS."""
    for at, name in enumerate(operation.credentials):
        if not isinstance(profile.credentials.get(name), FramesCredential):
            continue
        if not operation.websocket:
            yield (*place, "credentials", at), "kind frames needs websocket: true"
        named = [rule for rule in profile.hosts if operation.applies_to(rule)]
        if any(rule.scheme != "https" for rule in named):
            yield (*place, "credentials", at), "kind frames needs https hosts"


def _same_calls(profile: Profile, one: Operation, other: Operation) -> bool:
    """Whether the two cover the same calls with nothing to tell them apart."""
    return (
        _form(one.path) == _form(other.path)
        and bool(set(one.methods) & set(other.methods))
        and any(one.applies_to(rule) and other.applies_to(rule) for rule in profile.hosts)
        and one.websocket == other.websocket
        and discriminators(one) == discriminators(other)
        and bodies_meet(one, other)
        and all(other.query.get(name, value) in ("*", value) or value == "*" for name, value in one.query.items())
        and all(other.headers.get(name, value) in ("*", value) or value == "*" for name, value in one.headers.items())
    )


@cache
def _form(template: str) -> tuple[str, ...]:
    return tuple("{}" if name_of(piece) else piece for piece in template.split("/"))


def overlaps(one: HostRule, other: HostRule) -> bool:
    """Whether a request could belong to both rules (D-11), and nothing in it says to which."""
    if (one.token_host and other.token_host) or one.port != other.port or not _hosts_meet(one.host, other.host):
        return False
    return not set(one.paths).isdisjoint(other.paths)  # of two that cover a path, the longer prefix wins


def _hosts_meet(one: str, other: str) -> bool:
    if one == other:
        return True
    for wild, exact in ((one, other), (other, one)):
        if wild.startswith(WILDCARD) and exact.partition(".")[2] == wild.removeprefix(WILDCARD):
            return False  # an exact host goes before a wildcard: no ambiguity
    return False
