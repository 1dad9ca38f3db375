"""Which profile and operation a request belongs to. Compiled once; its cost does not grow with the profiles. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import query_pairs
from proxy.catalog.template import REST, name_of, parse_template
from proxy.catalog.validation import Rules
from proxy.credentials.path import PathCredential

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from proxy.catalog.schema import HostRule, Operation, Profile
    from proxy.model import Authority, RequestHead

WILDCARD: Final = "*."


@dataclass(frozen=True, slots=True)
class Match:
    """What a request is. `operation` is None where the profile manages the host but does not list the call.

    Attributes:
        others: what it may be instead, in order, where its content has to tell; until then `sure` is False.
        times: as how many calls it counts.
        parts: of a batch, each of its calls and its part of the body; the match itself is that of the weightiest.
    """

    profile: Profile
    host_rule: HostRule
    operation: Operation | None
    params: Mapping[str, str]
    others: tuple[Match, ...] = ()
    sure: bool = True
    times: int = 1
    parts: tuple[tuple[Match, bytes], ...] = ()

    def narrowed(self, operation: Operation, times: int) -> Match:
        """The one of these that is `operation`."""
        found = next(one for one in (self, *self.others) if one.operation is operation)
        return replace(found, others=(), sure=True, times=times)

    @property
    def calls(self) -> Mapping[str, int]:
        """The ids of its operations, and how many calls it makes of each."""
        if not self.parts:
            return {self.operation.id: self.times} if self.operation is not None else {}
        found: Counter[str] = Counter()
        for one, _ in self.parts:
            if one.operation is not None:
                found[one.operation.id] += one.times
        return found


@dataclass(slots=True)
class _Node:
    """One step of the tree of an authority's path templates, for one method."""

    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    ends: list[tuple[Operation, tuple[str, ...]]] = field(default_factory=list)
    rests: list[tuple[Operation, tuple[str, ...]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """One profile's rule for an authority, and its operations there, by method."""

    profile: Profile
    rule: HostRule
    trees: Mapping[str, _Node]

    def covers(self, path: str) -> int:
        """The length of the longest of the rule's path prefixes that covers `path`, by whole segments; 0 for none."""
        covering = (p for p in self.rule.paths if path.startswith(p))
        return max((len(p) for p in covering if p.endswith("/") or path[len(p) :][:1] in ("", "/")), default=0)


type _Table = dict[tuple[str, int], tuple[Entry, ...]]


class Catalog:
    """Every enabled profile, ready to be asked."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self.profiles: Final = {profile.name: profile for profile in profiles}
        self._exact: Final[_Table] = {}
        self._wildcard: Final[_Table] = {}
        for profile in self.profiles.values():
            for rule in profile.hosts:
                self._add(profile, rule)
        self._rules: Final = {
            (profile.name, operation.id): rules
            for profile in self.profiles.values()
            for operation in profile.operations
            if (rules := Rules.of(operation)) is not None
        }
        self._shared: Final = frozenset(key for key, entries in self._exact.items() if _is_shared(entries))
        self._ports: Final = frozenset(port for _, port in (*self._exact, *self._wildcard))

    def _add(self, profile: Profile, rule: HostRule) -> None:
        wild = rule.host.startswith(WILDCARD)
        table = self._wildcard if wild else self._exact
        key = (rule.host.removeprefix(WILDCARD), rule.port)
        table[key] = (*table.get(key, ()), Entry(profile, rule, _trees(profile, rule)))

    def host(self, host: str, port: int) -> tuple[Entry, ...] | None:
        """The rules for an authority; None when no profile manages it."""
        found = self._exact.get((host, port))
        if found is None:
            _, _, parent = host.partition(".")
            found = self._wildcard.get((parent, port))
        return found

    def tunnels(self, authority: Authority) -> bool:
        """Whether a profile has something at this authority that is reached over TLS."""
        entries = self.host(authority.host, authority.port) or ()
        return any(entry.rule.scheme == "https" for entry in entries)

    def allows_encoded_slash(self, host: str, port: int) -> bool:
        """Whether every profile of this authority takes `%2F` as data."""
        entries = self.host(host, port) or ()
        return bool(entries) and all(entry.profile.encoded_slash for entry in entries)

    def patterns(self) -> tuple[str, ...]:
        """Every host pattern over TLS, for the CA's name constraints."""
        rules = [rule for profile in self.profiles.values() for rule in profile.hosts]
        return tuple(sorted({rule.host for rule in rules if rule.scheme == "https"}))

    def match(self, head: RequestHead, provider: str | None = None) -> Match | None:
        """What `head` is; None when no profile manages its destination.

        `provider` goes first where several profiles have the same token host.
        """
        # The longest path prefix wins, so that a profile of a part of a host goes before one of the whole.
        entries = self._entries(head)
        entry = max(entries, key=lambda one: (one.covers(head.path), one.profile.name == provider), default=None)
        if entry is None or not entry.covers(head.path):
            return None
        tree = entry.trees.get(head.method)
        found = () if tree is None else _find(tree, head)
        if not found:
            return Match(entry.profile, entry.rule, None, {})
        first, *others = (Match(entry.profile, entry.rule, end[0], _params(end[1], head)) for end in found)
        return replace(first, others=tuple(others), sure=not found[0][0].told_by_content)

    def rules(self, match: Match) -> Rules | None:
        """What the calls of its operation are checked against."""
        return self._rules.get((match.profile.name, match.operation.id)) if match.operation is not None else None

    def shared(self, head: RequestHead) -> tuple[Match, ...]:
        """What `head` is for each of the profiles that have its token host; empty for any other host."""
        if (head.authority.host, head.authority.port) not in self._shared:
            return ()
        names = [e.profile.name for e in self._entries(head) if e.rule.token_host and e.covers(head.path)]
        return tuple(match for name in names if (match := self.match(head, name)) and match.profile.name == name)

    def _entries(self, head: RequestHead) -> Iterator[Entry]:
        authority = head.authority
        for entry in self.host(authority.host, authority.port) or ():
            if entry.rule.scheme == head.scheme:
                yield entry
        if head.scheme == "http" and authority.port == 80:  # noqa: PLR2004  # the default port of http
            for entry in self.host(authority.host, 443) or ():
                if entry.rule.http_upgrade:
                    yield entry

    def receipt_path(self, head: RequestHead) -> str:
        """The path as receipts may hold it: a segment in which a credential stands is named, not shown."""
        # Whatever the port: also a call that is refused for its scheme or port may carry a credential in its path.
        entries = [entry for port in self._ports for entry in self.host(head.authority.host, port) or ()]
        spots = {
            credential.segment
            for entry in entries
            for credential in entry.profile.credentials.values()
            if isinstance(credential, PathCredential)
        }
        if not spots:
            return head.path
        pieces = head.path[1:].split("/")
        known = {piece for entry in entries for piece in _words(entry)}
        return "/" + "/".join("{credential}" if i in spots and p not in known else p for i, p in enumerate(pieces))


def _is_shared(entries: tuple[Entry, ...]) -> bool:
    return sum(entry.rule.token_host for entry in entries) > 1


def _words(entry: Entry) -> Iterator[str]:
    for operation in entry.profile.operations:
        yield from parse_template(operation.path)


def _trees(profile: Profile, rule: HostRule) -> dict[str, _Node]:
    trees: dict[str, _Node] = {}
    for operation in profile.operations:
        if not operation.applies_to(rule):
            continue
        pieces = parse_template(operation.path)
        for method in operation.methods:
            _insert(trees.setdefault(method, _Node()), operation, pieces)
    return trees


def _insert(node: _Node, operation: Operation, pieces: tuple[str, ...]) -> None:
    for piece in pieces:
        if piece == REST:
            node.rests.append((operation, pieces))
            node.rests.sort(key=_discriminators, reverse=True)
            return
        if name_of(piece) is not None:
            node.parameter = node.parameter or _Node()
            node = node.parameter
        else:
            node = node.literals.setdefault(piece, _Node())
    node.ends.append((operation, pieces))
    node.ends.sort(key=_discriminators, reverse=True)


def _discriminators(end: tuple[Operation, tuple[str, ...]]) -> int:
    return discriminators(end[0])


def discriminators(operation: Operation) -> int:
    """How many things besides method and path tell its calls from others; what has more goes first."""
    graphql, jsonrpc = operation.graphql, operation.jsonrpc
    told = 0 if graphql is None else 1 + bool(graphql.fields)
    told += 0 if jsonrpc is None else 1 + bool(jsonrpc.tools)
    return len(operation.query) + len(operation.headers) + told


class _AmbiguousError(Exception):
    """A parameter or header that decides has two readings: which one is the server's is unknown (B-28, C-09)."""


def _find(tree: _Node, head: RequestHead) -> tuple[tuple[Operation, tuple[str, ...]], ...]:
    """The operation that fits; where more than the head has to tell, those that may fit, in order."""
    found = []
    try:
        for end in _candidates(tree, head, 0):
            found.append(end)
            if not end[0].told_by_content:
                break
    except _AmbiguousError:
        return ()
    return tuple(found)


def _params(pieces: tuple[str, ...], head: RequestHead) -> dict[str, str]:
    return {name: head.segments[i] for i, piece in enumerate(pieces) if (name := name_of(piece))}


def _candidates(node: _Node, head: RequestHead, at: int) -> Iterator[tuple[Operation, tuple[str, ...]]]:
    """Operations that fit, the most specific first: leftmost literal, then a name, then the rest."""
    if at == len(head.segments):
        yield from (end for end in node.ends if _fits(end[0], head))
    else:
        segment = head.segments[at]
        if (literal := node.literals.get(segment)) is not None:
            yield from _candidates(literal, head, at + 1)
        if segment and node.parameter is not None:
            yield from _candidates(node.parameter, head, at + 1)
    yield from (end for end in node.rests if _fits(end[0], head))


def _fits(operation: Operation, head: RequestHead) -> bool:
    if operation.websocket != head.websocket:
        return False
    if operation.query and not _query_fits(operation.query, head.query):
        return False
    for name, wanted in operation.headers.items():
        given = [value for key, value in head.headers if key == name.lower()]
        if len(given) > 1:
            raise _AmbiguousError
        if not given or wanted not in ("*", given[0]):
            return False
    return True


def _query_fits(wanted: Mapping[str, str], query: str | None) -> bool:
    pairs = query_pairs(query)
    for name, value in wanted.items():
        values = [given for key, given in pairs if key == name]
        if len(values) > 1 or (values and ";" in (query or "")):  # `;` separates for some servers only
            raise _AmbiguousError
        if not values or value not in ("*", values[0]):
            return False
    return True
