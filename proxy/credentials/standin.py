"""Stand-ins: harmless values in the vendor's token shape that an agent holds instead of secrets. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote

import ahocorasick_rs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.model import AccountId, Headers, RequestHead

ALPHABETS: Final = {
    "base32": string.ascii_uppercase + "234567",
    "base62": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "digits": string.digits,
    "base64url": string.ascii_letters + string.digits + "-_",
}
IDENTIFYING_BITS: Final = 96
"""A stand-in that is harder to guess than this may say which agent sends it (NIST SP 800-63B, section 5.1.2.2: 64)."""
RANDOM: Final = re.compile(r"\{(base32|base62|hex|digits|base64url):(\d{1,3})\}")


class Shape(Protocol):
    """How a vendor's token looks."""

    @property
    def prefix(self) -> str: ...  # noqa: D102
    @property
    def length(self) -> int: ...  # noqa: D102
    @property
    def alphabet(self) -> str: ...  # noqa: D102
    @property
    def template(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class StandIn:
    """One stand-in: for `agent`, in place of the secret `slot` of `account`.

    `random_bits` says how hard it is to guess; 0 where that is not known. `captured` is the id of the captured secret
    that it stands for; None where it stands for what the account itself has there.
    """

    value: str
    agent: str
    account: AccountId
    slot: str
    random_bits: int = 0
    captured: str | None = None

    @property
    def place(self) -> str:
        """What it stands for, among everything of its account."""
        return self.slot if self.captured is None else f"{self.slot}#{self.captured}"


def make(shape: Shape, *, key: bytes, purpose: str) -> str:
    """The stand-in for `purpose`: the same key and purpose give the same value, so it survives restarts."""
    count = 0

    def fill(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        alphabet, length = ALPHABETS[found[1]], int(found[2])
        seed = hmac.new(key, f"{purpose}#{count}".encode(), hashlib.sha256).digest()
        stream = hashlib.shake_256(seed).digest(length * 2)
        return "".join(alphabet[int.from_bytes(stream[2 * i : 2 * i + 2]) % len(alphabet)] for i in range(length))

    return RANDOM.sub(fill, _template(shape))


def random_bits(shape: Shape) -> int:
    """How many bits of a stand-in of this shape cannot be known beforehand, rounded down."""
    parts = RANDOM.findall(_template(shape))
    return int(sum(int(length) * math.log2(len(ALPHABETS[alphabet])) for alphabet, length in parts))


def _template(shape: Shape) -> str:
    return shape.template or f"{shape.prefix}{{{shape.alphabet}:{max(shape.length - len(shape.prefix), 12)}}}"


class StandIns:
    """Every stand-in of one configuration, compiled once."""

    def __init__(self, stand_ins: Iterable[StandIn]) -> None:
        self.all: Final = tuple(stand_ins)
        self._automaton: Final = (
            ahocorasick_rs.AhoCorasick(
                [stand_in.value for stand_in in self.all], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
            )
            if self.all
            else None
        )
        self._by_value: Final = {s.value: s for s in self.all}
        self._by_place: Final = {(s.agent, s.account, s.place): s.value for s in self.all}

    def plus(self, more: Iterable[StandIn]) -> StandIns:
        """These and `more`."""
        new = tuple(stand_in for stand_in in more if stand_in.value not in self._by_value)
        return StandIns((*self.all, *new)) if new else self

    def lookup(self, agent: str, account: AccountId, slot: str) -> str | None:
        """The value that `agent` holds for this slot."""
        return self._by_place.get((agent, account, slot))

    def identity(self, headers: Iterable[tuple[bytes, bytes]], target: bytes) -> str | None:
        """The agent whose stand-ins a head carries, where each is too hard to guess; None for none or two agents.

        The head is as it was received, before anything was believed; decoded forms are looked for as `find` does.
        """
        fields = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
        found = self._in(fields, target.decode("latin-1"))
        agents = {stand_in.agent for stand_in in found}
        hard = all(stand_in.random_bits >= IDENTIFYING_BITS for stand_in in found)
        return agents.pop() if len(agents) == 1 and hard else None

    def within(self, text: str) -> bool:
        """Whether a stand-in stands anywhere in `text`."""
        return self._automaton is not None and bool(self._automaton.find_matches_as_indexes(text))

    def knows(self, value: str) -> bool:
        """Whether `value` is a stand-in, of any agent."""
        return value in self._by_value

    def among(self, values: Iterable[str]) -> tuple[StandIn, ...]:
        """Those that are, whole, one of `values`: fields of a body that is made of credentials, as a token call's."""
        return tuple(dict.fromkeys(self._by_value[value] for value in values if value in self._by_value))

    def held(self, agent: str, account: AccountId) -> dict[str, str]:
        """What `agent` holds for `account`, by slot; without what was captured as a secret of its own."""
        mine = (s for s in self.all if (s.agent, s.account, s.captured) == (agent, account, None))
        return {stand_in.slot: stand_in.value for stand_in in mine}

    def find(self, head: RequestHead) -> tuple[StandIn, ...]:
        """Those that stand in the path, the query or a header; a body is never searched.

        Text in a body may quote a stand-in (a chat history does); only a place where a credential can stand counts.
        """
        return self._in(head.headers, head.path if head.query is None else f"{head.path}?{head.query}")

    def _in(self, headers: Headers, target: str) -> tuple[StandIn, ...]:
        if self._automaton is None:
            return ()
        places = [value for _, value in headers]
        places.append(target)
        if "%" in target:
            places.append(unquote(target, errors="replace"))
        places += _basic(headers)
        found = self._automaton.find_matches_as_indexes("\n".join(places))
        return tuple(dict.fromkeys(self.all[index] for index, _, _ in found))

    def mask(self, text: str) -> str:
        """`text` with every stand-in replaced by its slot's name."""
        if self._automaton is None or not self._automaton.find_matches_as_indexes(text):
            return text
        for stand_in in self.all:
            text = text.replace(stand_in.value, f"{{{stand_in.slot}}}")
        return text


def _basic(headers: Headers) -> tuple[str, ...]:
    """What HTTP Basic carries, decoded (RFC 7617)."""
    value = next((value for name, value in headers if name == "authorization"), "")
    scheme, _, encoded = value.strip(" \t").partition(" ")
    if scheme.lower() != "basic":
        return ()
    try:
        return (base64.b64decode(encoded.strip(), validate=True).decode("latin-1"),)
    except (binascii.Error, ValueError):
        return ()
